#include "spinor/linalg/factored_signs.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <span>

#include "spinor/linalg/fwht.h"

namespace spinor {
namespace {

constexpr int64_t kCacheBytes = 1 << 19;  // of x worked on at a time: well inside any L2 cache

// Is the corner of this order [[C, C], [C, -C]]?
bool doubled(const SignMatrix& h, int64_t order) {
  const int64_t half = order / 2;
  if (order % 2 != 0) return false;
  for (int64_t i = 0; i < half; ++i)
    for (int64_t j = 0; j < half; ++j)
      if (h(i, j + half) != h(i, j) || h(i + half, j) != h(i, j) || h(i + half, j + half) != -h(i, j)) return false;
  return true;
}

SignMatrix corner(const SignMatrix& h, int64_t order) {
  SignMatrix c(order);
  for (int64_t i = 0; i < order; ++i)
    for (int64_t j = 0; j < order; ++j) c(i, j) = h(i, j);
  return c;
}

template <int64_t width, typename T>
void gather(const T* piece, int64_t rows, T* lanes) {
  for (int64_t k = 0; k < rows; ++k)
    std::memcpy(lanes + k * SignProduct::kLanes<T>, piece + k * width, sizeof(T) * width);
}
template <int64_t width, typename T>
void scatter(const T* lanes, int64_t rows, T* piece) {
  for (int64_t k = 0; k < rows; ++k)
    std::memcpy(piece + k * width, lanes + k * SignProduct::kLanes<T>, sizeof(T) * width);
}

// (rows, width) pieces, contiguous, to and from some lanes of a tile. Constant widths make each copy one instruction.
template <typename T>
void move_piece(T* piece, int64_t rows, int64_t width, T* lanes, bool back) {
  const auto move = [&]<int64_t constant>() {
    back ? scatter<constant>(lanes, rows, piece) : gather<constant>(piece, rows, lanes);
  };
  switch (width) {
    case 1:
      return move.template operator()<1>();
    case 2:
      return move.template operator()<2>();
    case 4:
      return move.template operator()<4>();
    case 8:
      return move.template operator()<8>();
    default:
      assert(width == 16);
      return move.template operator()<16>();
  }
}

// Products with C on contiguous (c, m) pieces of x. Pieces narrower than a tile share one.
template <typename T>
class Pieces {
 public:
  Pieces(const SignProduct& product, int64_t m, T scale)
      : product_(product), m_(m), scale_(scale), sums_(static_cast<size_t>(product.order() * kLanes)) {
    if (m_ < kLanes) tile_.resize(sums_.size());
  }
  ~Pieces() { assert(waiting_.empty()); }

  void add(T* piece) {
    for (int64_t j = 0; m_ >= kLanes && j < m_; j += kLanes)
      product_.multiply(piece + j, m_, piece + j, m_, scale_, sums_.data());
    if (m_ < kLanes) waiting_.push_back(piece);
    if (static_cast<int64_t>(waiting_.size()) * m_ == kLanes) flush();
  }

  void flush() {
    if (waiting_.empty()) return;
    move(false);
    product_.multiply(tile_.data(), kLanes, tile_.data(), kLanes, scale_, sums_.data());
    move(true);
    waiting_.clear();
  }

 private:
  static constexpr int64_t kLanes = SignProduct::kLanes<T>;
  void move(bool back) {
    for (size_t i = 0; i < waiting_.size(); ++i)
      move_piece(waiting_[i], product_.order(), m_, tile_.data() + static_cast<int64_t>(i) * m_, back);
  }

  const SignProduct& product_;
  const int64_t m_;
  const T scale_;
  std::vector<T> sums_, tile_;
  std::vector<T*> waiting_;
};

// A panel of columns, contiguous: rows of a large stride would compete for the same lines of the cache.
template <typename T>
void copy(MatrixView<const T> from, MatrixView<T> to) {
  for (int64_t i = 0; i < from.rows; ++i)
    std::memcpy(to.row(i), from.row(i), sizeof(T) * static_cast<size_t>(from.cols));
}

}  // namespace

FactoredSigns::FactoredSigns(SignMatrix matrix) : matrix_(std::move(matrix)), core_order_(matrix_.order) {
  while (doubled(matrix_, core_order_)) core_order_ /= 2;
  if (core_order_ == 1) return;
  const SignMatrix core = corner(matrix_, core_order_);
  core_ = SignProduct(core, false);
  core_transposed_ = SignProduct(core, true);
}

// A row of x is an (s, c, m) tensor: S_s along its first side, C^T along the second (x A is A^T on columns), S_m along
// the third.
template <typename T>
void FactoredSigns::rows(MatrixView<T> x, T scale, bool transposed) const {
  assert(x.cols % matrix_.order == 0);
  const int64_t s = matrix_.order / core_order_, piece = x.cols / s, m = piece / core_order_;
  if (core_order_ == 1) return fwht_rows(x, scale);
  Pieces<T> pieces(transposed ? core_ : core_transposed_, m, scale);
  for (int64_t row = 0; row < x.rows; ++row) {
    T* data = x.row(row);
    if (m > 1) fwht_rows(MatrixView<T>(data, s * core_order_, m), T(1));
    if (s > 1) fwht_columns(MatrixView<T>(data, s, piece), T(1));
    for (int64_t i = 0; i < s; ++i) pieces.add(data + i * piece);
  }
  pieces.flush();
}

template <typename T>
void FactoredSigns::columns(MatrixView<T> x, T scale, bool transposed) const {
  assert(x.rows % matrix_.order == 0);
  if (core_order_ == 1) return fwht_columns(x, scale);
  constexpr int64_t kLanes = SignProduct::kLanes<T>;
  const int64_t s = matrix_.order / core_order_, piece = x.rows / s, m = piece / core_order_;
  const int64_t fitting = kCacheBytes / (x.rows * SignProduct::kTileBytes) * kLanes;
  const int64_t width = std::max(kLanes, std::min(fitting, (x.cols + kLanes - 1) / kLanes * kLanes));
  std::vector<T> panel(static_cast<size_t>(x.rows * width));
  Pieces<T> pieces(transposed ? core_transposed_ : core_, m * width, scale);
  for (int64_t col = 0; col < x.cols; col += width) {
    const MatrixView<T> columns = x.block(0, col, x.rows, std::min(width, x.cols - col));
    const MatrixView<T> copied(panel.data(), x.rows, columns.cols, width);
    copy<T>(columns, copied);
    for (int64_t i = 0; m > 1 && i < x.rows; i += m) fwht_columns(copied.block(i, 0, m, copied.cols), T(1));
    if (s > 1) fwht_columns(MatrixView<T>(panel.data(), s, piece * width), T(1));
    for (int64_t i = 0; i < s; ++i) pieces.add(panel.data() + i * piece * width);
    copy<T>(copied, columns);
  }
}

template void FactoredSigns::rows(MatrixView<float>, float, bool) const;
template void FactoredSigns::rows(MatrixView<double>, double, bool) const;
template void FactoredSigns::columns(MatrixView<float>, float, bool) const;
template void FactoredSigns::columns(MatrixView<double>, double, bool) const;

}  // namespace spinor
