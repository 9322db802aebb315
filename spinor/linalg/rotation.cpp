#include "spinor/linalg/rotation.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>
#include <string>
#include <variant>

#include "spinor/base/error.h"
#include "spinor/linalg/gemm.h"
#include "spinor/linalg/inverse.h"
#include "spinor/linalg/signed_hadamard.h"

namespace spinor {
namespace {

constexpr int64_t kCacheBytes = 1 << 19;  // of x taken through all passes at a time: well inside any L2 cache
constexpr int64_t kDenseTile = 1024;      // rows, or columns, of one dense product: fixed, so that it rounds in one way

// A matrix in both precisions, the second made when it is asked for.
class Dense {
 public:
  explicit Dense(Matrix<double> m) : wide_(std::move(m)) {}
  template <typename T>
  const Matrix<T>& as() const {
    if constexpr (std::is_same_v<T, double>) {
      return wide_;
    } else {
      std::call_once(narrowed_, [this] {
        narrow_ = Matrix<float>(wide_.rows, wide_.cols);
        std::ranges::transform(wide_.data, narrow_.data.begin(), [](double v) { return static_cast<float>(v); });
      });
      return narrow_;
    }
  }

 private:
  Matrix<double> wide_;
  mutable std::once_flag narrowed_;
  mutable Matrix<float> narrow_;
};

struct DenseRotation {
  DenseRotation(Matrix<double> matrix, bool transpose_inverts) : m(std::move(matrix)), orthogonal(transpose_inverts) {}
  const Dense& inverse() const {
    std::call_once(inverted,
                   [this] { inverse_matrix = std::make_unique<const Dense>(spinor::inverse(m.as<double>())); });
    return *inverse_matrix;
  }

  Dense m;
  bool orthogonal;
  mutable std::once_flag inverted;
  mutable std::unique_ptr<const Dense> inverse_matrix;
};

template <typename T>
MatrixView<T> grown(std::vector<T>& scratch, int64_t rows, int64_t cols) {
  if (static_cast<int64_t>(scratch.size()) < rows * cols) scratch.resize(static_cast<size_t>(rows * cols));
  return {scratch.data(), rows, cols};
}

template <typename T>
void copy(MatrixView<const T> from, MatrixView<T> to) {
  for (int64_t i = 0; i < from.rows; ++i)
    std::memcpy(to.row(i), from.row(i), sizeof(T) * static_cast<size_t>(from.cols));
}

void check_signs(const Hadamard& h, const std::vector<int8_t>& signs) {
  if (!signs.empty() && std::ssize(signs) != h.order())
    throw Error("rotation", std::to_string(signs.size()) + " signs for size " + std::to_string(h.order()));
}

// Of 0 ... n-1.
void check_permutation(int64_t n, const std::vector<int64_t>& permutation) {
  std::vector<int64_t> sorted = permutation;
  std::ranges::sort(sorted);
  bool valid = std::ssize(sorted) == n;
  for (size_t i = 0; valid && i < sorted.size(); ++i) valid = sorted[i] == static_cast<int64_t>(i);
  if (!valid) throw Error("rotation", "not a permutation of 0 ... " + std::to_string(n - 1));
}

void check_hadamard(const Hadamard& h, const std::vector<int8_t>& signs, const std::vector<int64_t>& permutation) {
  check_signs(h, signs);
  if (!permutation.empty()) check_permutation(h.order(), permutation);
}

// R of Rotation::reordering().
struct Reordering {
  std::vector<int64_t> order;

  template <typename T>
  void multiply_right(MatrixView<T> x, bool transposed, std::vector<T>& scratch) const {
    scratch.resize(std::max(scratch.size(), order.size()));
    for (int64_t i = 0; i < x.rows; ++i) {
      std::copy_n(x.row(i), x.cols, scratch.data());
      for (int64_t j = 0; j < x.cols; ++j) {
        const int64_t from = order[static_cast<size_t>(j)];
        x(i, transposed ? from : j) = scratch[static_cast<size_t>(transposed ? j : from)];
      }
    }
  }
  // A few columns at a time, so that what is copied stays in the cache.
  template <typename T>
  void multiply_left(MatrixView<T> x, bool transposed, std::vector<T>& scratch) const {
    const MatrixView<T> copied = grown(scratch, x.rows, x.cols);
    copy<T>(x, copied);
    for (int64_t i = 0; i < x.rows; ++i) {
      const int64_t from = order[static_cast<size_t>(i)];
      std::copy_n(copied.row(transposed ? from : i), x.cols, x.row(transposed ? i : from));
    }
  }
  Matrix<double> matrix() const {
    Matrix<double> m(std::ssize(order), std::ssize(order));
    for (int64_t j = 0; j < m.cols; ++j) m(order[static_cast<size_t>(j)], j) = 1;
    return m;
  }
};

}  // namespace

struct Rotation::Data {
  template <typename Kind, typename... Args>
  explicit Data(std::in_place_type_t<Kind> type, Args&&... args) : kind(type, std::forward<Args>(args)...) {}

  std::variant<SignedHadamard, DenseRotation, Reordering> kind;

  const SignedHadamard* hadamard() const { return std::get_if<SignedHadamard>(&kind); }
  const Reordering* reordering() const { return std::get_if<Reordering>(&kind); }
  const DenseRotation& dense() const { return std::get<DenseRotation>(kind); }
  const Dense& factor(bool inverted) const { return inverted ? dense().inverse() : dense().m; }
};

Rotation::Rotation(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

Rotation Rotation::hadamard(Hadamard h, std::vector<int8_t> signs, std::vector<int64_t> permutation) {
  check_hadamard(h, signs, permutation);
  SignedHadamard kind{
      .h = std::move(h), .left = {signs.begin(), signs.end()}, .right = {}, .permutation = std::move(permutation)};
  return Rotation(std::make_shared<const Data>(std::in_place_type<SignedHadamard>, std::move(kind)));
}

Rotation Rotation::hadamard_fixing_ones(Hadamard h, std::vector<int8_t> left, std::vector<int8_t> right,
                                        std::vector<int64_t> permutation) {
  check_hadamard(h, left, permutation);
  check_signs(h, right);
  SignedHadamard kind{.h = std::move(h),
                      .left = {left.begin(), left.end()},
                      .right = {right.begin(), right.end()},
                      .permutation = std::move(permutation)};
  kind.reflection = reflection_that_fixes_ones(kind);
  return Rotation(std::make_shared<const Data>(std::in_place_type<SignedHadamard>, std::move(kind)));
}

Rotation Rotation::reordering(std::vector<int64_t> order) {
  check_permutation(std::ssize(order), order);
  return Rotation(std::make_shared<const Data>(std::in_place_type<Reordering>, Reordering{std::move(order)}));
}

Rotation Rotation::dense(Matrix<double> m, bool orthogonal) {
  if (m.rows != m.cols)
    throw Error("rotation", "not square: " + std::to_string(m.rows) + " x " + std::to_string(m.cols));
  return Rotation(std::make_shared<const Data>(std::in_place_type<DenseRotation>, std::move(m), orthogonal));
}

int64_t Rotation::size() const {
  if (const Reordering* r = data_->reordering()) return std::ssize(r->order);
  return is_dense() ? data_->dense().m.as<double>().rows : data_->hadamard()->h.order();
}
bool Rotation::is_dense() const {
  return std::holds_alternative<DenseRotation>(data_->kind);
}
bool Rotation::is_reordering() const {
  return data_->reordering() != nullptr;
}
bool Rotation::orthogonal() const {
  return !is_dense() || data_->dense().orthogonal;
}

int64_t Rotation::bytes() const {
  if (is_dense()) return size() * size() * static_cast<int64_t>(sizeof(double)) * (orthogonal() ? 1 : 2);
  if (is_reordering()) return size() * static_cast<int64_t>(sizeof(int64_t));
  return data_->hadamard()->bytes();
}

Rotation Rotation::transposed() const {
  Rotation r = *this;
  r.transposed_ = !transposed_;
  return r;
}

Rotation Rotation::inverse() const {
  if (orthogonal()) return transposed();
  data_->dense().inverse();
  Rotation r = *this;
  r.inverted_ = !inverted_;
  return r;
}

Matrix<double> Rotation::matrix() const {
  const SignedHadamard* r = data_->hadamard();
  Matrix<double> m = is_reordering() ? data_->reordering()->matrix()
                     : r             ? r->matrix()
                                     : data_->factor(inverted_).as<double>();
  for (int64_t i = 0; transposed_ && i < m.rows; ++i)
    for (int64_t j = 0; j < i; ++j) std::swap(m(i, j), m(j, i));
  return m;
}

double Rotation::stored(int64_t i, int64_t j) const {
  if (is_reordering()) throw Error("rotation", "one that reorders has no stored form");
  if (const SignedHadamard* r = data_->hadamard()) {
    if (!r->stored_as_signs()) throw Error("rotation", "one that fixes the ones vector has no stored form");
    return (r->left.empty() ? 1.0 : r->left[static_cast<size_t>(i)]) * r->h.sign(j, i);
  }
  const Matrix<double>& m = data_->factor(inverted_).as<double>();
  return transposed_ ? m(j, i) : m(i, j);
}

Rotation::Factors Rotation::factors() const {
  const SignedHadamard* r = data_->hadamard();
  if (!r || !r->stored_as_signs()) throw Error("rotation", "is not made of signs and a Hadamard matrix");
  const int64_t base = r->h.base(), step = r->h.order() / base;
  Factors factors{{r->left.begin(), r->left.end()}, Matrix<double>(base, base)};
  for (int64_t i = 0; i < base; ++i)
    for (int64_t j = 0; j < base; ++j) factors.base(i, j) = r->h.sign(i * step, j * step);
  return factors;
}

bool Rotation::stores_the_same(const Rotation& other) const {
  if (data_ != other.data_) return false;
  return data_->hadamard() || (transposed_ == other.transposed_ && inverted_ == other.inverted_);
}

bool Rotation::same_as(const Rotation& other) const {
  return data_ == other.data_ && transposed_ == other.transposed_ && inverted_ == other.inverted_;
}

const std::vector<int64_t>& Rotation::permutation() const {
  static const std::vector<int64_t> none;
  return data_->hadamard() ? data_->hadamard()->permutation : none;
}

bool Rotation::peer_has_order() const {
  const SignedHadamard* r = data_->hadamard();
  return r && r->stored_as_signs() && ((size() & (size() - 1)) == 0 || r->h.from_peer_table());
}

template <typename T>
void Rotation::multiply_right(MatrixView<T> x, std::vector<T>& scratch) const {
  const int64_t n = size();
  assert(x.cols % n == 0);
  if (x.stride == x.cols) x = MatrixView<T>(x.data, x.rows * (x.cols / n), n);  // all blocks of all rows are rows
  const SignedHadamard* r = data_->hadamard();
  const int64_t fitting = std::max<int64_t>(32, kCacheBytes / (x.cols * static_cast<int64_t>(sizeof(T))));
  const int64_t tile = is_dense() ? kDenseTile : fitting;
  for (int64_t row = 0; row < x.rows; row += tile) {
    for (int64_t col = 0; col < x.cols; col += n) {
      const MatrixView<T> block = x.block(row, col, std::min(tile, x.rows - row), n);
      if (r) {
        r->multiply_right(block, transposed_, scratch);
      } else if (const Reordering* order = data_->reordering()) {
        order->multiply_right(block, transposed_, scratch);
      } else {
        const MatrixView<T> copied = grown(scratch, block.rows, n);
        copy<T>(block, copied);
        gemm<T>(copied, data_->factor(inverted_).as<T>().view(), block, false, transposed_);
      }
    }
  }
}

template <typename T>
void Rotation::multiply_left(MatrixView<T> x, std::vector<T>& scratch) const {
  const int64_t n = size();
  assert(x.rows % n == 0);
  const SignedHadamard* r = data_->hadamard();
  const int64_t fitting = std::max<int64_t>(32, kCacheBytes / (n * static_cast<int64_t>(sizeof(T))) / 32 * 32);
  const int64_t tile = is_dense() ? kDenseTile : fitting;
  for (int64_t row = 0; row < x.rows; row += n) {
    for (int64_t col = 0; col < x.cols; col += tile) {
      const MatrixView<T> block = x.block(row, col, n, std::min(tile, x.cols - col));
      if (r) {
        r->multiply_left(block, transposed_, scratch);
      } else if (const Reordering* order = data_->reordering()) {
        order->multiply_left(block, transposed_, scratch);
      } else {
        const MatrixView<T> copied = grown(scratch, n, block.cols);
        copy<T>(block, copied);
        gemm<T>(data_->factor(inverted_).as<T>().view(), copied, block, transposed_, false);
      }
    }
  }
}

template void Rotation::multiply_right(MatrixView<float>, std::vector<float>&) const;
template void Rotation::multiply_right(MatrixView<double>, std::vector<double>&) const;
template void Rotation::multiply_left(MatrixView<float>, std::vector<float>&) const;
template void Rotation::multiply_left(MatrixView<double>, std::vector<double>&) const;

}  // namespace spinor
