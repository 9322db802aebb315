// Scalar arithmetic as a narrower type does it: in float, each result rounded to the type, to nearest even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "spinor/base/dtype.h"

namespace spinor {

// x, finite, with `fraction_bits` bits behind the leading one, fewer below 2^min_exponent. Not clamped at the top.
inline float round_fraction(float x, int fraction_bits, int min_exponent) {
  const float magnitude = std::fabs(x);
  const auto exponent = static_cast<int>(std::bit_cast<uint32_t>(magnitude) >> 23) - 127;
  const int spacing = (exponent > min_exponent ? exponent : min_exponent) - fraction_bits;
  // magnitude + 2^(spacing + 23) has room for multiples of the spacing only.
  const float m = std::bit_cast<float>(static_cast<uint32_t>(spacing + 23 + 127) << 23);
  return std::copysign((magnitude + m) - m, x);
}

// x rounded to BF16 or F16; as it is for other dtypes. Too large becomes infinite.
inline float round_to(DType dtype, float x) {
  if (dtype == DType::F16) {
    if (!(std::fabs(x) < 65520)) return std::isnan(x) ? x : std::copysign(INFINITY, x);
    return round_fraction(x, 10, -14);
  }
  if (dtype != DType::BF16 || !std::isfinite(x)) return x;
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

}  // namespace spinor
