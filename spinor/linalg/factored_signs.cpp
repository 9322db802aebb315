#include "spinor/linalg/factored_signs.h"

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cassert>

#include "spinor/linalg/fwht.h"

namespace spinor {
namespace {

constexpr int64_t kPanelBytes = 1 << 20;  // fits the L2 cache

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

// Columns to be multiplied by S_s (x) C (x) S_m, copied into a panel ordered (s, m, c, width) from an order of (s, c,
// m): S_s (x) S_m then is one transform of s m long rows, and the products with C read what lies side by side.
template <typename T>
class Panel {
 public:
  Panel(const SignProduct& product, int64_t s, int64_t m, int64_t width)
      : product_(product),
        parts_(s * m),
        m_(m),
        width_(width),
        part_stride_(product.order() * width + kLanes),
        data_(hwy::AllocateAligned<T>(static_cast<size_t>(parts_ * part_stride_))),
        sums_(hwy::AllocateAligned<T>(static_cast<size_t>(product.order() * kLanes))) {
    std::fill_n(data_.get(), parts_ * part_stride_, T(0));  // lanes without a column are computed too
  }

  // Where row i of the columns is kept: `width` elements.
  T* row(int64_t i) {
    const int64_t c = product_.order(), part = i / (c * m_) * m_ + i % m_, k = i / m_ % c;
    return data_.get() + part * part_stride_ + k * width_;
  }

  void multiply(T scale) {
    if (parts_ > 1) fwht_columns(MatrixView<T>(data_.get(), parts_, product_.order() * width_, part_stride_), T(1));
    for (int64_t part = 0; part < parts_; ++part) {
      for (int64_t col = 0; col < width_; col += kLanes) {
        T* tile = data_.get() + part * part_stride_ + col;
        product_.multiply(tile, width_, tile, width_, scale, sums_.get());
      }
    }
  }

 private:
  static constexpr int64_t kLanes = SignProduct::kLanes<T>;

  const SignProduct& product_;
  const int64_t parts_, m_, width_;
  const int64_t
      part_stride_;  // a tile more than a part: c * width alone is often a multiple of 4 KiB, bad for the L1 cache
  hwy::AlignedFreeUniquePtr<T[]> data_, sums_;
};

// One cache line of each row at a time: rows that are a multiple of 4 KiB apart compete for the same few lines.
constexpr int64_t kLineBytes = 64;

template <typename T>
void transpose_in(MatrixView<const T> rows, Panel<T>& panel) {
  constexpr int64_t kLine = kLineBytes / sizeof(T);
  for (int64_t first = 0; first < rows.cols; first += kLine) {
    const int64_t count = std::min(kLine, rows.cols - first);
    T* columns[kLine];
    for (int64_t i = 0; i < count; ++i) columns[i] = panel.row(first + i);
    for (int64_t lane = 0; lane < rows.rows; ++lane)
      for (int64_t i = 0; i < count; ++i) columns[i][lane] = rows(lane, first + i);
  }
}

template <typename T>
void transpose_out(Panel<T>& panel, MatrixView<T> rows) {
  constexpr int64_t kLine = kLineBytes / sizeof(T);
  for (int64_t first = 0; first < rows.cols; first += kLine) {
    const int64_t count = std::min(kLine, rows.cols - first);
    const T* columns[kLine];
    for (int64_t i = 0; i < count; ++i) columns[i] = panel.row(first + i);
    for (int64_t lane = 0; lane < rows.rows; ++lane)
      for (int64_t i = 0; i < count; ++i) rows(lane, first + i) = columns[i][lane];
  }
}

}  // namespace

FactoredSigns::FactoredSigns(SignMatrix matrix) : matrix_(std::move(matrix)), core_order_(matrix_.order) {
  while (doubled(matrix_, core_order_)) core_order_ /= 2;
  if (core_order_ == 1) return;
  const SignMatrix core = corner(matrix_, core_order_);
  core_ = SignProduct(core, false);
  core_transposed_ = SignProduct(core, true);
}

// Where m is too short for a tile of columns, a tile takes as many rows of x: they become the columns of a panel.
template <typename T>
void FactoredSigns::short_rows(MatrixView<T> x, T scale, bool transposed) const {
  constexpr int64_t kLanes = SignProduct::kLanes<T>;
  const int64_t s = matrix_.order / core_order_;
  Panel<T> panel(product(!transposed), s, x.cols / matrix_.order, kLanes);
  for (int64_t row = 0; row < x.rows; row += kLanes) {
    const MatrixView<T> rows = x.block(row, 0, std::min(kLanes, x.rows - row), x.cols);
    transpose_in<T>(rows, panel);
    panel.multiply(scale);
    transpose_out(panel, rows);
  }
}

// A row of x is an (s, c, m) tensor: S_s along its first side, C^T along the second (x A is A^T on columns), S_m along
// the third.
template <typename T>
void FactoredSigns::rows(MatrixView<T> x, T scale, bool transposed) const {
  assert(x.cols % matrix_.order == 0);
  if (core_order_ == 1) return fwht_rows(x, scale);
  constexpr int64_t kLanes = SignProduct::kLanes<T>;
  const int64_t s = matrix_.order / core_order_, piece = x.cols / s, m = piece / core_order_;
  if (m < kLanes) return short_rows(x, scale, transposed);
  const auto sums = hwy::AllocateAligned<T>(static_cast<size_t>(core_order_ * kLanes));
  for (int64_t row = 0; row < x.rows; ++row) {
    T* data = x.row(row);
    fwht_rows(MatrixView<T>(data, s * core_order_, m), T(1));
    if (s > 1) fwht_columns(MatrixView<T>(data, s, piece), T(1));
    for (T* at = data; at < data + x.cols; at += piece)
      for (int64_t j = 0; j < m; j += kLanes) product(!transposed).multiply(at + j, m, at + j, m, scale, sums.get());
  }
}

template <typename T>
void FactoredSigns::columns(MatrixView<T> x, T scale, bool transposed) const {
  assert(x.rows % matrix_.order == 0);
  if (core_order_ == 1) return fwht_columns(x, scale);
  constexpr int64_t kLanes = SignProduct::kLanes<T>;
  const int64_t tiles = std::min(kPanelBytes / (x.rows * SignProduct::kTileBytes), (x.cols + kLanes - 1) / kLanes);
  const int64_t width = std::max<int64_t>(1, tiles) * kLanes;
  Panel<T> panel(product(transposed), matrix_.order / core_order_, x.rows / matrix_.order, width);
  for (int64_t col = 0; col < x.cols; col += width) {
    const int64_t count = std::min(width, x.cols - col);
    for (int64_t i = 0; i < x.rows; ++i) std::copy_n(x.row(i) + col, count, panel.row(i));
    panel.multiply(scale);
    for (int64_t i = 0; i < x.rows; ++i) std::copy_n(panel.row(i), count, x.row(i) + col);
  }
}

template void FactoredSigns::rows(MatrixView<float>, float, bool) const;
template void FactoredSigns::rows(MatrixView<double>, double, bool) const;
template void FactoredSigns::columns(MatrixView<float>, float, bool) const;
template void FactoredSigns::columns(MatrixView<double>, double, bool) const;

}  // namespace spinor
