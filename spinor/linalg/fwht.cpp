// Kernels, so longer than most files. One source for every CPU level: the middle part is compiled once per level.
//
// The order of additions is fixed by n and the type alone, so that all levels give the same bits: one stage per bit of
// the index. Columns take the bits in ascending order. Rows start with the two bits above a 128-bit block, then those
// inside it (four blocks, a "quad", are what one AVX-512 register holds, and its first two stages cost no shuffles when
// each block is loaded into all four places), then the rest, ascending.
#include "spinor/linalg/fwht.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/fwht.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cassert>

#include "spinor/linalg/cpu.h"

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
constexpr int kBlock = 16 / sizeof(T);  // elements of 128 bits
template <typename T>
constexpr int kQuad = 4 * kBlock<T>;
template <typename T>
constexpr int64_t kRowInCache = (32 << 10) / sizeof(T);  // the longest piece of a row that stays in the L1 cache

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kTileVectors = 16;  // of 32 registers
constexpr int kStageBits = 4;
#elif HWY_TARGET == HWY_AVX2
constexpr int kTileVectors = 8;  // of 16 registers
constexpr int kStageBits = 3;
#else
constexpr int kTileVectors = 4;
constexpr int kStageBits = 2;
#endif

// v[0 .. n) <- one stage for each bit of the index from log2(first) on.
template <int n, int first = 1, class V>
HWY_INLINE void butterflies(V* v) {
  if constexpr (n > first) {
    constexpr int half = n / 2;
    butterflies<half, first>(v);
    butterflies<half, first>(v + half);
    for (int i = 0; i < half; ++i) {
      const V a = v[i];
      v[i] = hn::Add(a, v[i + half]);
      v[i + half] = hn::Sub(a, v[i + half]);
    }
  }
}

// ---- Columns

// Rows of a matrix, numbered by (group, k): element c of one is data[group * group_step + k * step + c].
template <typename T>
struct Groups {
  T* data;
  int64_t group_step, step;
};

// In each group and column, 2^kBits elements k through their butterflies, from src to dst.
template <int kBits, bool kScaled, class D, typename T>
void stage(D d, Groups<T> src, Groups<T> dst, int64_t groups, int64_t cols, T scale) {
  constexpr int n = 1 << kBits;
  const auto factor = hn::Set(d, scale);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t c = 0; c < cols; c += hn::MaxLanes(d)) {
      const T* HWY_RESTRICT from = src.data + g * src.group_step + c;
      T* HWY_RESTRICT to = dst.data + g * dst.group_step + c;
      hn::Vec<D> v[n];
      for (int k = 0; k < n; ++k) v[k] = hn::LoadU(d, from + k * src.step);
      butterflies<n>(v);
      for (int k = 0; k < n; ++k) hn::StoreU(kScaled ? hn::Mul(v[k], factor) : v[k], d, to + k * dst.step);
    }
  }
}

template <bool kScaled, class D, typename T>
void stage(D d, int bits, Groups<T> src, Groups<T> dst, int64_t groups, int64_t cols, T scale) {
  static_assert(kStageBits <= 4);
  switch (bits) {
    case 0:
      return stage<0, kScaled>(d, src, dst, groups, cols, scale);
    case 1:
      return stage<1, kScaled>(d, src, dst, groups, cols, scale);
    case 2:
      return stage<2, kScaled>(d, src, dst, groups, cols, scale);
    case 3:
      return stage<std::min(3, kStageBits), kScaled>(d, src, dst, groups, cols, scale);
    default:
      return stage<kStageBits, kScaled>(d, src, dst, groups, cols, scale);
  }
}

// Two stages at one reading of memory: 2^(low + high) rows, `step` elements apart, through a buffer in the L1 cache.
template <bool kScaled, class D, typename T>
void two_stages(D d, int low, int high, T* x, int64_t step, int64_t cols, T scale) {
  constexpr int64_t kWidth = 128 / sizeof(T);  // one pair of cache lines
  alignas(64) T buffer[kWidth << (2 * kStageBits)];
  for (int64_t c = 0; c < cols; c += kWidth) {
    const int64_t width = std::min(kWidth, cols - c);
    stage<false>(d, low, {x + c, step << low, step}, {buffer, kWidth << low, kWidth}, int64_t{1} << high, width, scale);
    stage<kScaled>(d, high, {buffer, kWidth, kWidth << low}, {x + c, step, step << low}, int64_t{1} << low, width,
                   scale);
  }
}

// The stages of `bits` <= 2 kStageBits bits of the row number, from bit `first` on.
template <bool kScaled, class D, typename T>
void pass(D d, MatrixView<T> x, int first, int bits, T scale) {
  const int low = (bits + 1) / 2, high = bits - low;
  const int64_t near = int64_t{1} << first;
  for (int64_t r = 0; r < x.rows; r += near << bits) {
    if (bits <= kStageBits) {
      const Groups<T> rows{x.row(r), x.stride, near * x.stride};
      stage<kScaled>(d, bits, rows, rows, near, x.cols, scale);
    } else {
      for (int64_t i = r; i < r + near; ++i)
        two_stages<kScaled>(d, low, high, x.row(i), near * x.stride, x.cols, scale);
    }
  }
}

// x.cols is a multiple of the vector.
template <class D, typename T>
void whole_columns(D d, MatrixView<T> x, T scale) {
  const int bits = std::countr_zero(static_cast<uint64_t>(x.rows));
  int stages = (bits + kStageBits - 1) / kStageBits;
  int first = 0;
  while (stages > 2) {  // as many bits as two even stages of those that are left
    const int two = (2 * (bits - first) + stages - 1) / stages;
    pass<false>(d, x, first, two, scale);
    first += two;
    stages -= 2;
  }
  pass<true>(d, x, first, bits - first, scale);
}

template <class D, typename T>
void columns(D d, MatrixView<T> x, T scale) {
  const int64_t whole = x.cols & ~int64_t{hn::MaxLanes(d) - 1};
  if (whole > 0) whole_columns(d, x.block(0, 0, x.rows, whole), scale);
  if constexpr (hn::MaxLanes(d) > 1)
    if (whole < x.cols) columns(hn::Half<D>(), x.block(0, whole, x.rows, x.cols - whole), scale);
}

// ---- Rows

// One stage of scalar code, for the bit `half` of the index.
template <int n, typename T>
HWY_INLINE void scalar_stage(T* x, int half) {
  for (int first = 0; first < n; first += 2 * half) {
    for (int i = first; i < first + half; ++i) {
      const T a = x[i], b = x[i + half];
      x[i] = a + b;
      x[i + half] = a - b;
    }
  }
}

// Rows of n elements, at most a quad; also what a level without vectors starts with.
template <int n, typename T>
void short_rows(MatrixView<T> x, T scale) {
  for (int64_t r = 0; r < x.rows; ++r) {
    T v[n];
    std::copy_n(x.row(r), n, v);
    for (int half = kBlock<T>; half < n; half *= 2) scalar_stage<n>(v, half);
    for (int half = 1; half < std::min(n, kBlock<T>); half *= 2) scalar_stage<n>(v, half);
    for (int i = 0; i < n; ++i) x(r, i) = v[i] * scale;
  }
}

#if HWY_TARGET == HWY_SCALAR

template <class D, typename T>
void rows(D d, MatrixView<T> x, T scale) {
  constexpr int64_t quad = kQuad<T>;
  for (int64_t r = 0; r < x.rows; ++r) {
    const MatrixView<T> quads(x.row(r), x.cols / quad, quad);
    short_rows<quad>(quads, x.cols == quad ? scale : T{1});
    if (quads.rows > 1) columns(d, quads, scale);
  }
}

#else

// +1 where the bit of the lane number is 0, else -1: a stage inside a register is one exact multiply-add, w * sign + v.
template <typename T>
struct Signs {
  static constexpr int kBits = sizeof(T) == 4 ? 4 : 3;
  alignas(64) T lane[kBits][64 / sizeof(T)];
  constexpr Signs() : lane() {
    for (int bit = 0; bit < kBits; ++bit)
      for (int i = 0; i < static_cast<int>(64 / sizeof(T)); ++i) lane[bit][i] = (i >> bit & 1) != 0 ? T{-1} : T{1};
  }
};
template <typename T>
constexpr Signs<T> kSigns;

template <class D, class T = hn::TFromD<D> >
HWY_INLINE hn::Vec<D> sign(D d, int bit) {
  return hn::Load(d, kSigns<T>.lane[bit]);
}

template <class D>
HWY_INLINE hn::Vec<D> in_block(D d, hn::Vec<D> v) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return hn::MulAdd(v, sign(d, 0), hn::Shuffle01(v));
  } else {
    v = hn::MulAdd(v, sign(d, 0), hn::Shuffle2301(v));
    return hn::MulAdd(v, sign(d, 1), hn::Shuffle1032(v));
  }
}

template <class D>
constexpr int kQuadVectors = kQuad<hn::TFromD<D> > / static_cast<int>(hn::MaxLanes(D()));

// The stages of one quad, from memory into v[0 .. kQuadVectors).
template <class D, typename T>
HWY_INLINE void quad(D d, const T* p, hn::Vec<D>* v) {
  constexpr int block = kBlock<T>, bit = sizeof(T) == 4 ? 2 : 1;
  if constexpr (kQuadVectors<D> == 4) {
    for (int i = 0; i < 4; ++i) v[i] = hn::LoadU(d, p + i * block);
    butterflies<4>(v);
  } else {
    const auto a = hn::MulAdd(hn::LoadDup128(d, p + block), sign(d, bit), hn::LoadDup128(d, p));
    const auto b = hn::MulAdd(hn::LoadDup128(d, p + 3 * block), sign(d, bit), hn::LoadDup128(d, p + 2 * block));
    if constexpr (kQuadVectors<D> == 1) {
      v[0] = hn::MulAdd(b, sign(d, bit + 1), a);
    } else {
      v[0] = hn::Add(a, b);
      v[1] = hn::Sub(a, b);
    }
  }
  for (int i = 0; i < kQuadVectors<D>; ++i) v[i] = in_block(d, v[i]);
}

// kRows pieces of kVectors registers, `stride` elements apart, in place.
template <int kVectors, int kRows, bool kScaled, class D, typename T>
HWY_INLINE void tile(D d, T* x, int64_t stride, T scale) {
  constexpr int lanes = hn::MaxLanes(d);
  hn::Vec<D> v[kRows * kVectors];
  for (int i = 0; i < kRows * kVectors; i += kQuadVectors<D>)
    quad(d, x + i / kVectors * stride + i % kVectors * lanes, v + i);
  for (int r = 0; r < kRows; ++r) butterflies<kVectors, kQuadVectors<D> >(v + r * kVectors);
  const auto factor = hn::Set(d, scale);
  for (int i = 0; i < kRows * kVectors; ++i)
    hn::StoreU(kScaled ? hn::Mul(v[i], factor) : v[i], d, x + i / kVectors * stride + i % kVectors * lanes);
}

// Rows that fit the registers: as many at once as fit.
template <int kVectors, class D, typename T>
void tile_rows(D d, MatrixView<T> x, T scale) {
  constexpr int together = kTileVectors / kVectors;
  int64_t r = 0;
  for (; r + together <= x.rows; r += together) tile<kVectors, together, true>(d, x.row(r), x.stride, scale);
  for (; r < x.rows; ++r) tile<kVectors, 1, true>(d, x.row(r), x.stride, scale);
}

// A row longer than the registers, as a matrix of tiles: each tile, then the columns.
template <class D, typename T>
void long_row(D d, T* x, int64_t n, T scale) {
  constexpr int64_t size = kTileVectors * hn::MaxLanes(d);
  for (int64_t i = 0; i < n; i += kRowInCache<T>) {
    const int64_t piece = std::min(n - i, kRowInCache<T>);
    for (int64_t j = i; j < i + piece; j += size) tile<kTileVectors, 1, false>(d, x + j, 0, scale);
    whole_columns(d, MatrixView<T>(x + i, piece / size, size), piece == n ? scale : T{1});
  }
  if (n > kRowInCache<T>) whole_columns(d, MatrixView<T>(x, n / kRowInCache<T>, kRowInCache<T>), scale);
}

template <class D, typename T>
void rows(D d, MatrixView<T> x, T scale) {
  constexpr int q = kQuadVectors<D>;
  switch (x.cols / static_cast<int64_t>(hn::MaxLanes(d))) {
    case 1:
      return tile_rows<std::max(q, 1)>(d, x, scale);
    case 2:
      return tile_rows<std::max(q, 2)>(d, x, scale);
    case 4:
      return tile_rows<std::max(q, 4)>(d, x, scale);
    case 8:
      return tile_rows<std::clamp(8, q, kTileVectors)>(d, x, scale);
    case 16:
      if constexpr (kTileVectors >= 16) return tile_rows<16>(d, x, scale);
  }
  for (int64_t r = 0; r < x.rows; ++r) long_row(d, x.row(r), x.cols, scale);
}

#endif

template <typename T>
void rows(MatrixView<T> x, T scale) {
  switch (x.cols) {
    case 0:
      return;
    case 1:
      return short_rows<1>(x, scale);
    case 2:
      return short_rows<2>(x, scale);
    case 4:
      return short_rows<4>(x, scale);
    case 8:
      if constexpr (kQuad<T> > 8) return short_rows<8>(x, scale);
  }
  rows(hn::ScalableTag<T>(), x, scale);
}

void rows_f32(MatrixView<float> x, float scale) {
  rows(x, scale);
}
void rows_f64(MatrixView<double> x, double scale) {
  rows(x, scale);
}
void columns_f32(MatrixView<float> x, float scale) {
  columns(hn::ScalableTag<float>(), x, scale);
}
void columns_f64(MatrixView<double> x, double scale) {
  columns(hn::ScalableTag<double>(), x, scale);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {

HWY_EXPORT(rows_f32);
HWY_EXPORT(rows_f64);
HWY_EXPORT(columns_f32);
HWY_EXPORT(columns_f64);

// cpu_level() first: it settles which level the dispatch takes.
template <>
void fwht_rows(MatrixView<float> x, float scale) {
  assert(x.cols == 0 || std::has_single_bit(static_cast<uint64_t>(x.cols)));
  cpu_level();
  HWY_DYNAMIC_DISPATCH(rows_f32)(x, scale);
}

template <>
void fwht_rows(MatrixView<double> x, double scale) {
  assert(x.cols == 0 || std::has_single_bit(static_cast<uint64_t>(x.cols)));
  cpu_level();
  HWY_DYNAMIC_DISPATCH(rows_f64)(x, scale);
}

template <>
void fwht_columns(MatrixView<float> x, float scale) {
  assert(x.rows == 0 || std::has_single_bit(static_cast<uint64_t>(x.rows)));
  cpu_level();
  if (x.rows > 0) HWY_DYNAMIC_DISPATCH(columns_f32)(x, scale);
}

template <>
void fwht_columns(MatrixView<double> x, double scale) {
  assert(x.rows == 0 || std::has_single_bit(static_cast<uint64_t>(x.rows)));
  cpu_level();
  if (x.rows > 0) HWY_DYNAMIC_DISPATCH(columns_f64)(x, scale);
}

}  // namespace spinor
#endif  // HWY_ONCE
