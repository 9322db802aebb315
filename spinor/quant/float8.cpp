#include "spinor/quant/float8.h"

#include <bit>
#include <cmath>
#include <limits>

#include "spinor/quant/narrow.h"

namespace spinor {
namespace {

constexpr uint32_t kE4M3Bias = 127 - 7;  // from E4M3's exponent to float's
constexpr float kE2M1[] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};

}  // namespace

uint8_t to_e4m3(float x) {
  const float rounded = std::fabs(round_fraction(x, 3, -6));
  const uint32_t sign = std::signbit(x) ? 0x80 : 0;
  const uint32_t magnitude = rounded < 0x1p-6F ? static_cast<uint32_t>(rounded * 0x1p9F)
                                               : (std::bit_cast<uint32_t>(rounded) >> 20) - (kE4M3Bias << 3);
  return static_cast<uint8_t>(sign | magnitude);
}

float from_e4m3(uint8_t code) {
  const uint32_t magnitude = code & 0x7f;
  float value = magnitude < 8 ? static_cast<float>(magnitude) * 0x1p-9F
                              : std::bit_cast<float>((magnitude << 20) + (kE4M3Bias << 23));
  if (magnitude == 0x7f) value = std::numeric_limits<float>::quiet_NaN();
  return code >= 0x80 ? -value : value;
}

float from_e2m1(uint8_t code) {
  const float value = kE2M1[code & 7];
  return (code & 8) != 0 ? -value : value;
}

float from_e8m0(uint8_t code) {
  if (code == 255) return std::numeric_limits<float>::quiet_NaN();
  return code == 0 ? 0x1p-127F : std::bit_cast<float>(static_cast<uint32_t>(code) << 23);
}

uint8_t to_e8m0(float x) {
  return static_cast<uint8_t>(std::bit_cast<uint32_t>(x) >> 23);
}

}  // namespace spinor
