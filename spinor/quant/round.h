// Rows of numbers to codes and back, vectorized: ranges, rounding, the errors of a grid. One byte a code.
//
// All CPU levels give the same bits, except add_errors, which sums in the order of the lanes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "spinor/base/dtype.h"

namespace spinor {

enum class CodeType { integer, e4m3, e2m1 };

// What a byte stands for, and how it is found.
struct Numbers {
  CodeType type = CodeType::integer;
  int bits = 8;
  int bias = 0;                   // of integers: the byte is (code + bias) mod 256
  DType arithmetic = DType::F32;  // BF16, F16: results of every operation of quantize and add_errors are rounded to it

  bool operator==(const Numbers&) const = default;

  float lowest() const;
  float highest() const;
};

// A code q stands for (q - zero) * scale. Scale is not 0.
struct Affine {
  float scale = 1, zero = 0;

  bool operator==(const Affine&) const = default;
};

// How a piece of a row falls into groups: the first `first` elements, then `size` each; the last may be cut.
struct Segments {
  int64_t first = 0, size = 0;

  int64_t count(int64_t n) const { return n <= first ? 1 : 1 + (n - first + size - 1) / size; }
};

// Widens the range [low[g], high[g]] of each group to hold its elements. False if one is not finite.
[[nodiscard]] bool widen(const float* x, int64_t n, Segments groups, float* low, float* high);

// to[i] = x[i] rounded to F16 or BF16, or as it is.
void round_row(DType dtype, const float* x, int64_t n, float* to);

// codes[i] = the nearest code to x[i] / scale + zero, clamped to the range of codes.
void quantize(const Numbers& numbers, const float* x, int64_t n, Segments groups, const Affine* affine, uint8_t* codes);

// x[i] = (code - zero) * scale, in float. False if a code is none: NaN, or outside the bits of an integer.
[[nodiscard]] bool dequantize(const Numbers& numbers, const uint8_t* codes, int64_t n, Segments groups,
                              const Affine* affine, float* x);

// |d|^norm as two polynomials, of fraction and exponent. Relative error below 1e-6 where levels have fused
// multiply-add; else below 1e-6 + 6e-8 |log2 |d|^norm|.
struct PowerNorm {
  static constexpr int kTerms = 6, kLanes = 16;
  explicit PowerNorm(double norm);

  float norm;
  alignas(64) float fraction[kTerms][kLanes];  // m^norm in m - 1.5, 1 <= m < 2, ascending; each as often as lanes
  alignas(64) float exponent[kTerms][kLanes];  // 2^t in t, |t| <= 1/2
};

// errors[k] += sum of |dequantize(quantize(x)) - x|^norm with candidates[k]. With `importance`, of n numbers, each term
// is multiplied by its own, and the difference and all after it are float32 whatever the arithmetic.
void add_errors(const Numbers& numbers, const PowerNorm& norm, const float* x, int64_t n,
                std::span<const Affine> candidates, double* errors, const float* importance = nullptr);

}  // namespace spinor
