// A kernel: the middle part is compiled once per CPU level.
#include "spinor/quant/gptq_block.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/quant/gptq_block.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <new>

#include "spinor/linalg/cpu.h"
#include "spinor/quant/round-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kVectors = 8;  // their sums stay in registers
constexpr int64_t kStripRows = kVectors * kLanes;
static_assert(kGptqRows % kStripRows == 0);

template <typename T>
hwy::AlignedFreeUniquePtr<T[]> allocate(int64_t n) {
  auto memory = hwy::AllocateAligned<T>(static_cast<size_t>(n));
  if (!memory) throw std::bad_alloc();
  return memory;
}

// Some rows of a block, transposed: a column is kStripRows elements side by side.
struct Strip {
  int64_t n;
  hwy::AlignedFreeUniquePtr<float[]> lower;  // L': what a column needs lies side by side
  hwy::AlignedFreeUniquePtr<float[]> w, s;
  hwy::AlignedFreeUniquePtr<uint8_t[]> codes;

  explicit Strip(MatrixView<const float> l)
      : n(l.rows),
        lower(allocate<float>(n * n)),
        w(allocate<float>(n * kStripRows)),
        s(allocate<float>(n * kStripRows)),
        codes(allocate<uint8_t>(n * kStripRows)) {
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = 0; k <= j; ++k) lower[k * n + j] = l(j, k);
    std::fill_n(w.get(), n * kStripRows, 0.0f);
    std::fill_n(s.get(), n * kStripRows, 0.0f);
  }
};

template <typename T>
void transpose_in(MatrixView<const T> rows, T* HWY_RESTRICT to) {
  for (int64_t i = 0; i < rows.rows; ++i)
    for (int64_t j = 0; j < rows.cols; ++j) to[j * kStripRows + i] = rows(i, j);
}

template <typename T>
void transpose_out(const T* HWY_RESTRICT from, MatrixView<T> rows) {
  for (int64_t i = 0; i < rows.rows; ++i)
    for (int64_t j = 0; j < rows.cols; ++j) rows(i, j) = from[j * kStripRows + i];
}

// Column k of a strip, whose first row is the block's `row`. errors, kStripRows of them, grow.
template <CodeType kType, DType kDType>
HWY_INLINE void quantize_column(const Numbers& numbers, const GptqBlock& block, int64_t row, int64_t k, Strip& strip,
                                float* HWY_RESTRICT errors) {
  const Limits limits(numbers);
  const float* HWY_RESTRICT l = strip.lower.get() + k * strip.n;
  float *w = strip.w.get() + k * kStripRows, *s = strip.s.get() + k * kStripRows;
  uint8_t* codes = strip.codes.get() + k * kStripRows;
  const float* scales = block.scale.row(block.group[static_cast<size_t>(k)]) + row;
  const float* zeros = block.zero.row(block.group[static_cast<size_t>(k)]) + row;
  V sums[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) sums[v] = hn::Load(d, s + v * kLanes);
  for (int64_t j = k + 1; j < strip.n; ++j) {
    const auto factor = hn::Set(d, l[j]);
    const float* HWY_RESTRICT done = strip.s.get() + j * kStripRows;
    for (int64_t v = 0; v < kVectors; ++v) sums[v] = hn::NegMulAdd(factor, hn::Load(d, done + v * kLanes), sums[v]);
  }
  const auto diagonal = hn::Set(d, l[k]), inverse = hn::Set(d, 1 / l[k]);
  for (int64_t v = 0, i = 0; v < kVectors; ++v, i += kLanes) {
    const auto x = hn::Load(d, w + i), scale = hn::LoadU(d, scales + i), zero = hn::LoadU(d, zeros + i);
    const auto t = hn::MulAdd(sums[v], inverse, x);
    const auto code = to_code<kType>(nearest<kType, DType::F32>(t, scale, zero, limits), numbers.bias);
    const auto back = as<kDType>(hn::Mul(hn::Sub(from_code<kType>(code, numbers.bias), zero), scale));
    const auto error = hn::Mul(hn::Sub(t, back), diagonal);
    hn::Store(hn::MulAdd(error, error, hn::Load(d, errors + i)), d, errors + i);
    hn::Store(hn::DemoteTo(db, code), db, codes + i);
    hn::Store(hn::Sub(back, x), d, s + i);
    hn::Store(back, d, w + i);
  }
}

template <CodeType kType, DType kDType>
void quantize_block(const Numbers& numbers, const GptqBlock& block, double* errors) {
  const int64_t n = block.w.cols;
  Strip strip(block.lower);
  for (int64_t row = 0; row < block.w.rows; row += kStripRows) {
    const int64_t rows = std::min(kStripRows, block.w.rows - row);
    transpose_in<float>(block.w.block(row, 0, rows, n), strip.w.get());
    transpose_in<float>(block.s.block(row, 0, rows, n), strip.s.get());
    alignas(64) float sums[kStripRows] = {};
    for (int64_t k = n - 1; k >= 0; --k) quantize_column<kType, kDType>(numbers, block, row, k, strip, sums);
    transpose_out(strip.w.get(), block.w.block(row, 0, rows, n));
    transpose_out(strip.s.get(), block.s.block(row, 0, rows, n));
    transpose_out(strip.codes.get(), block.codes.block(row, 0, rows, n));
    for (int64_t i = 0; i < rows; ++i) errors[row + i] += static_cast<double>(sums[i]);
  }
}

void quantize_block_any(const Numbers& numbers, const GptqBlock& block, double* errors) {
  with_numbers(numbers, [&](auto type, auto dtype) { quantize_block<type, dtype>(numbers, block, errors); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {

HWY_EXPORT(quantize_block_any);

}  // namespace

// cpu_level() first: it settles which level the dispatch takes.
void gptq_block(const Numbers& numbers, const GptqBlock& block, double* errors) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(quantize_block_any)(numbers, block, errors);
}

}  // namespace spinor
#endif  // HWY_ONCE
