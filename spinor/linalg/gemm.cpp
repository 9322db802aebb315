// A kernel: the middle part is compiled once per CPU level. A block of b is packed into panels of columns, a block of a
// into panels of rows, each as the innermost loop reads it; that loop keeps a tile of c in registers.
#include "spinor/linalg/gemm.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/gemm.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <new>

#include "spinor/linalg/cpu.h"

#ifndef SPINOR_LINALG_GEMM_OPERANDS
#define SPINOR_LINALG_GEMM_OPERANDS
namespace spinor {
namespace {

// A factor as the kernel wants it: `lines` (rows of a, columns of b) of `depth` elements each, the inner index.
template <typename T>
struct Operand {
  const T* data;
  int64_t lines, depth;
  int64_t line_step, depth_step;  // one of them is 1
};

// Blocks are sized by their use, in elements: a panel of b fits the L1 cache, a block of a the L2, a block of b the L3.
constexpr int64_t kDepth = 256, kRows = 96, kCols = 2304;

}  // namespace
}  // namespace spinor
#endif

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// A tile of c: kTileRows rows of kTileVectors registers.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int64_t kTileRows = 8;  // 24 of 32 registers
#else
constexpr int64_t kTileRows = 4;  // 12 of 16 registers
#endif
constexpr int64_t kTileVectors = 3;

template <typename T>
constexpr int64_t kTileCols = kTileVectors * static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));

constexpr int64_t round_up(int64_t n, int64_t step) {
  return (n + step - 1) / step * step;
}

// Lines [line, line + lines) at depths [at, at + depth), times `sign`, in panels of kWidth lines; in a panel the lines
// of one depth lie side by side. The last panel is filled up with zeros.
template <int64_t kWidth, typename T>
void pack(const Operand<T>& x, int64_t line, int64_t lines, int64_t at, int64_t depth, T sign, T* HWY_RESTRICT to) {
  const T* HWY_RESTRICT from = x.data + line * x.line_step + at * x.depth_step;
  const int64_t whole = lines / kWidth * kWidth;
  if (whole < lines) std::fill_n(to + whole * depth, kWidth * depth, T(0));
  if (x.line_step == 1) {
    for (int64_t k = 0; k < depth; ++k, from += x.depth_step) {
      for (int64_t i = 0; i < whole; i += kWidth)
        for (int64_t j = 0; j < kWidth; ++j) to[i * depth + k * kWidth + j] = sign * from[i + j];
      for (int64_t i = whole; i < lines; ++i) to[whole * depth + k * kWidth + i - whole] = sign * from[i];
    }
  } else {
    for (int64_t i = 0; i < lines; ++i)
      for (int64_t k = 0; k < depth; ++k)
        to[i / kWidth * kWidth * depth + k * kWidth + i % kWidth] = sign * from[i * x.line_step + k];
  }
}

// One tile: c = (fresh ? 0 : c) + a b.
template <typename T>
HWY_INLINE void multiply_tile(const T* HWY_RESTRICT a, const T* HWY_RESTRICT b, int64_t depth, bool fresh,
                              T* HWY_RESTRICT c, int64_t stride) {
  const hn::ScalableTag<T> d;
  constexpr int64_t lanes = hn::MaxLanes(d);
  hn::Vec<decltype(d)> sums[kTileRows][kTileVectors];
  for (int64_t i = 0; i < kTileRows; ++i)
    for (int64_t j = 0; j < kTileVectors; ++j)
      sums[i][j] = fresh ? hn::Zero(d) : hn::LoadU(d, c + i * stride + j * lanes);
  for (int64_t k = 0; k < depth; ++k, a += kTileRows, b += kTileCols<T>) {
    hn::Vec<decltype(d)> row[kTileVectors];
    for (int64_t j = 0; j < kTileVectors; ++j) row[j] = hn::Load(d, b + j * lanes);
    for (int64_t i = 0; i < kTileRows; ++i) {
      const auto factor = hn::Set(d, a[i]);
      for (int64_t j = 0; j < kTileVectors; ++j) sums[i][j] = hn::MulAdd(factor, row[j], sums[i][j]);
    }
  }
  for (int64_t i = 0; i < kTileRows; ++i)
    for (int64_t j = 0; j < kTileVectors; ++j) hn::StoreU(sums[i][j], d, c + i * stride + j * lanes);
}

// A tile that c has only the first rows and columns of.
template <typename T>
void multiply_corner(const T* a, const T* b, int64_t depth, bool fresh, MatrixView<T> c) {
  T corner[kTileRows * kTileCols<T>] = {};
  for (int64_t i = 0; i < c.rows && !fresh; ++i) std::copy_n(c.row(i), c.cols, corner + i * kTileCols<T>);
  multiply_tile(a, b, depth, fresh, corner, kTileCols<T>);
  for (int64_t i = 0; i < c.rows; ++i) std::copy_n(corner + i * kTileCols<T>, c.cols, c.row(i));
}

// c = (fresh ? 0 : c) + a b from packed blocks. A panel of b stays in the L1 cache while the rows pass by.
template <typename T>
void multiply_block(const T* a, const T* b, int64_t depth, bool fresh, MatrixView<T> c) {
  for (int64_t j = 0; j < c.cols; j += kTileCols<T>, b += kTileCols<T> * depth) {
    const int64_t cols = std::min(kTileCols<T>, c.cols - j);
    for (int64_t i = 0; i < c.rows; i += kTileRows) {
      const int64_t rows = std::min(kTileRows, c.rows - i);
      if (rows == kTileRows && cols == kTileCols<T>)
        multiply_tile(a + i * depth, b, depth, fresh, c.row(i) + j, c.stride);
      else
        multiply_corner(a + i * depth, b, depth, fresh, c.block(i, j, rows, cols));
    }
  }
}

// c = (fresh ? 0 : c) + sign a b.
template <typename T>
void multiply(const Operand<T>& a, const Operand<T>& b, T sign, bool fresh, MatrixView<T> c) {
  const int64_t most_rows = round_up(std::min(kRows, c.rows), kTileRows);
  const int64_t most_cols = round_up(std::min(kCols, c.cols), kTileCols<T>), most_depth = std::min(kDepth, a.depth);
  const auto packed_a = hwy::AllocateAligned<T>(static_cast<size_t>(most_rows * most_depth));
  const auto packed_b = hwy::AllocateAligned<T>(static_cast<size_t>(most_cols * most_depth));
  if (!packed_a || !packed_b) throw std::bad_alloc();
  for (int64_t j = 0; j < c.cols; j += kCols) {
    const int64_t cols = std::min(kCols, c.cols - j);
    for (int64_t k = 0; k < a.depth; k += kDepth) {
      const int64_t depth = std::min(kDepth, a.depth - k);
      pack<kTileCols<T>>(b, j, cols, k, depth, T(1), packed_b.get());
      for (int64_t i = 0; i < c.rows; i += kRows) {
        const int64_t rows = std::min(kRows, c.rows - i);
        pack<kTileRows>(a, i, rows, k, depth, sign, packed_a.get());
        multiply_block(packed_a.get(), packed_b.get(), depth, fresh && k == 0, c.block(i, j, rows, cols));
      }
    }
  }
}

void multiply_f32(const Operand<float>& a, const Operand<float>& b, float sign, bool fresh, MatrixView<float> c) {
  multiply(a, b, sign, fresh, c);
}
void multiply_f64(const Operand<double>& a, const Operand<double>& b, double sign, bool fresh, MatrixView<double> c) {
  multiply(a, b, sign, fresh, c);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f64);

// cpu_level() first: it settles which level the dispatch takes.
void dispatch(const Operand<float>& a, const Operand<float>& b, float sign, bool fresh, MatrixView<float> c) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(multiply_f32)(a, b, sign, fresh, c);
}
void dispatch(const Operand<double>& a, const Operand<double>& b, double sign, bool fresh, MatrixView<double> c) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(multiply_f64)(a, b, sign, fresh, c);
}

template <typename T>
Operand<T> rows_of(MatrixView<const T> m) {
  return {m.data, m.rows, m.cols, m.stride, 1};
}
template <typename T>
Operand<T> columns_of(MatrixView<const T> m) {
  return {m.data, m.cols, m.rows, 1, m.stride};
}

}  // namespace

template <typename T>
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, bool transpose_a, bool transpose_b) {
  const Operand<T> left = transpose_a ? columns_of(a) : rows_of(a), right = transpose_b ? rows_of(b) : columns_of(b);
  assert(left.lines == c.rows && right.lines == c.cols && left.depth == right.depth);
  if (c.rows == 0 || c.cols == 0) return;
  if (left.depth > 0) return dispatch(left, right, T(1), true, c);
  for (int64_t i = 0; i < c.rows; ++i) std::fill_n(c.row(i), c.cols, T(0));
}

template <typename T>
void gemm_subtract(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) {
  assert(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows);
  if (c.rows > 0 && c.cols > 0 && a.cols > 0) dispatch(rows_of(a), columns_of(b), T(-1), false, c);
}

template void gemm(MatrixView<const float>, MatrixView<const float>, MatrixView<float>, bool, bool);
template void gemm(MatrixView<const double>, MatrixView<const double>, MatrixView<double>, bool, bool);
template void gemm_subtract(MatrixView<const float>, MatrixView<const float>, MatrixView<float>);
template void gemm_subtract(MatrixView<const double>, MatrixView<const double>, MatrixView<double>);

}  // namespace spinor
#endif  // HWY_ONCE
