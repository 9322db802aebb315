#include "spinor/quant/scale.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "spinor/quant/float8.h"
#include "spinor/quant/narrow.h"

namespace spinor {
namespace {

// What stands in for a scale of 0: the spacing of 1 in the dtype.
float epsilon(DType dtype) {
  if (dtype == DType::BF16) return 0x1p-7F;
  return dtype == DType::F16 ? 0x1p-10F : 0x1p-23F;
}

// 2^e such that magnitude / 2^e fills the codes. From 7/8 of the next power of two on, the magnitude counts as that
// one: values are clamped a little rather than all of them rounded twice as coarsely.
float power_of_two(const Numbers& numbers, float magnitude) {
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  int exponent = static_cast<int>((bits + (1u << 21)) >> 23) - 127;  // subnormals: -127, or -126 from 3/4 of it on
  if (numbers.arithmetic == DType::F16 && magnitude < 0x1p-14F) exponent = magnitude >= 0x1.8p-15F ? -14 : -127;
  if (exponent == 128) return INFINITY;                    // as the peer; there is no such exponent in float
  const int top = numbers.type == CodeType::e2m1 ? 2 : 8;  // log2 of the largest code's power of two
  return from_e8m0(static_cast<uint8_t>(std::max(exponent - top, -127) + 127));
}

}  // namespace

Affine ScaleRule::stored(Range range) const {
  const DType arithmetic = numbers.arithmetic;
  const float low_code = numbers.lowest(), high_code = numbers.highest();
  Affine result;
  if (storage == ScaleStorage::e8m0) {
    result.scale = round_to(arithmetic, power_of_two(numbers, range.high));
    if (result.scale == 0) result.scale = 1;  // as the peer in F16
    return result;
  }
  const float width = symmetric ? range.high : round_to(arithmetic, range.high - range.low);
  const float codes = high_code - low_code;
  result.scale = round_to(arithmetic, width / (symmetric ? codes / 2 : codes));
  if (storage == ScaleStorage::e4m3) {
    result.scale = from_e4m3(to_e4m3(std::min(global * result.scale, 448.0F)));
    if (result.scale == 0) result.scale = 0.125F;
    return result;
  }
  result.scale = round_to(dtype, result.scale);
  if (!symmetric) {
    const float zero = round_to(arithmetic, low_code - round_to(arithmetic, range.low / result.scale));
    result.zero = std::isnan(zero) ? 0 : std::nearbyint(std::clamp(zero, low_code, high_code));
  }
  if (result.scale == 0) result.scale = epsilon(dtype);
  return result;
}

Affine ScaleRule::affine(Range range) const {
  Affine result = stored(range);
  if (storage == ScaleStorage::e4m3) result.scale /= global;
  return result;
}

float global_scale(DType arithmetic, float magnitude) {
  const float smallest = arithmetic == DType::F16 ? 0x1p-14F : 0x1p-126F;
  const float inverse = round_to(arithmetic, 1 / std::max(magnitude, smallest));
  const float scale = round_to(arithmetic, inverse * (448 * 6));
  return std::isfinite(scale) ? scale : 1;
}

}  // namespace spinor
