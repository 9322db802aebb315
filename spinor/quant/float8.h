// Scalar codecs of the small floats: E4M3 (finite, 448 at most), E2M1 (FP4, 6 at most), E8M0 (2^-127 to 2^127).
#pragma once

#include <cstdint>

namespace spinor {

// To nearest even; x is within [-448, 448].
uint8_t to_e4m3(float x);
// NaN for 0x7f and 0xff.
float from_e4m3(uint8_t code);
float from_e2m1(uint8_t code);
// 2^(code - 127); NaN for 255.
float from_e8m0(uint8_t code);
// The exponent of x = 2^(code - 127), which must be a power of two.
uint8_t to_e8m0(float x);

}  // namespace spinor
