#include "spinor/quant/float8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "spinor/linalg/convert.h"
#include "spinor/quant/narrow.h"

namespace spinor::float8_test {
namespace {

// E4M3 by its definition.
double e4m3(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return code >= 0x80 ? -magnitude : magnitude;
}

TEST(Float8, E4M3StandsForWhatItsFieldsSay) {
  for (int code = 0; code < 256; ++code) {
    const float value = from_e4m3(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    EXPECT_EQ(value, e4m3(code));
    EXPECT_EQ(std::signbit(value), code >= 0x80);
    EXPECT_EQ(to_e4m3(value), code);
  }
}

TEST(Float8, E4M3RoundsToNearestEvenAtEveryHalfwayPoint) {
  for (int code = 0; code < 0x7e; ++code) {
    const auto half = static_cast<float>((e4m3(code) + e4m3(code + 1)) / 2);
    EXPECT_EQ(to_e4m3(half), code + code % 2);
    EXPECT_EQ(to_e4m3(std::nextafter(half, 0.0F)), code);
    EXPECT_EQ(to_e4m3(std::nextafter(half, 1000.0F)), code + 1);
    EXPECT_EQ(to_e4m3(-half), (code + code % 2) | 0x80);
  }
}

TEST(Float8, E2M1AndE8M0AreTheirTables) {
  const float grid[] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  for (uint8_t code = 0; code < 8; ++code) {
    EXPECT_EQ(from_e2m1(code), grid[code]);
    EXPECT_EQ(from_e2m1(code | 8), -grid[code]);
    EXPECT_TRUE(std::signbit(from_e2m1(code | 8)));
  }
  for (int code = 0; code < 255; ++code) {
    EXPECT_EQ(from_e8m0(static_cast<uint8_t>(code)), std::ldexp(1.0, code - 127));
    EXPECT_EQ(to_e8m0(from_e8m0(static_cast<uint8_t>(code))), code);
  }
  EXPECT_TRUE(std::isnan(from_e8m0(255)));
}

// linalg/convert is tested against the definition of the types.
TEST(Narrow, RoundsAsStoringDoes) {
  for (const DType dtype : {DType::F16, DType::BF16, DType::F32}) {
    for (uint64_t bits = 0; bits < 0x100000000; bits += 65537 * 7 + 2) {
      const auto x = std::bit_cast<float>(static_cast<uint32_t>(bits));
      if (std::isnan(x)) continue;
      std::byte stored[4];
      float expected = 0;
      (void)store(dtype, &x, stored, 1);
      load(dtype, stored, &expected, 1);
      ASSERT_EQ(std::bit_cast<uint32_t>(round_to(dtype, x)), std::bit_cast<uint32_t>(expected)) << std::hexfloat << x;
    }
  }
}

}  // namespace
}  // namespace spinor::float8_test
