#include "spinor/linalg/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/linalg/cpu.h"

namespace spinor::convert_test {
namespace {

// Every test runs at every level of the machine.
class Convert : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, Convert, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A 16-bit format by its definition.
struct Format {
  DType dtype;
  int fraction_bits, bias;
  uint16_t infinity() const { return static_cast<uint16_t>(0x8000 - (1 << fraction_bits)); }

  double value(uint16_t bits) const {
    const int exponent = (bits & 0x7fff) >> fraction_bits, fraction = bits & ((1 << fraction_bits) - 1);
    double magnitude =
        std::ldexp(fraction + (exponent > 0 ? 1 << fraction_bits : 0), std::max(exponent, 1) - bias - fraction_bits);
    if (bits % 0x8000 == infinity()) magnitude = kInfinity;
    if (bits % 0x8000 > infinity()) magnitude = std::nan("");
    return bits >= 0x8000 ? -magnitude : magnitude;
  }
  // Halfway to the next larger magnitude; exact in float and double. Above the largest value: where infinity begins.
  double halfway(uint16_t bits) const {
    const double low = value(bits);
    const double next = bits + 1 == infinity() ? std::ldexp(1.0, bias + 1) : value(static_cast<uint16_t>(bits + 1));
    return low + (next - low) / 2;
  }
  // By search in the table of all values; not for NaN.
  uint16_t nearest(double x) const {
    uint16_t low = 0, high = infinity();  // value(low) <= |x| < value(high)
    while (high - low > 1) {
      const auto middle = static_cast<uint16_t>((low + high) / 2);
      (value(middle) <= std::abs(x) ? low : high) = middle;
    }
    const double half = halfway(low);
    if (std::abs(x) > half || (std::abs(x) == half && low % 2 == 1)) ++low;
    return static_cast<uint16_t>(low | (std::signbit(x) ? 0x8000 : 0));
  }
};

constexpr Format kFormats[] = {{DType::F16, 10, 15}, {DType::BF16, 7, 127}};

std::vector<uint16_t> all_patterns() {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  return all;
}

const std::byte* bytes(const auto& v) {
  return reinterpret_cast<const std::byte*>(v.data());
}
std::byte* bytes(auto& v) {
  return reinterpret_cast<std::byte*>(v.data());
}

template <typename T>
std::vector<T> loaded(DType dtype, const auto& stored) {
  std::vector<T> values(stored.size());
  load(dtype, bytes(stored), values.data(), std::ssize(values));
  return values;
}

template <typename T>
void every_pattern_is_loaded_exactly(const Format& format) {
  const auto patterns = all_patterns();
  const auto values = loaded<T>(format.dtype, patterns);
  for (const uint16_t bits : patterns) {
    const double expected = format.value(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(values[bits])) << bits;
    } else {
      ASSERT_EQ(values[bits], expected) << bits;
      ASSERT_EQ(std::signbit(values[bits]), bits >= 0x8000) << bits;
    }
  }
}

TEST_P(Convert, LoadsEveryPatternExactly) {
  for (const Format& format : kFormats) {
    every_pattern_is_loaded_exactly<float>(format);
    every_pattern_is_loaded_exactly<double>(format);
  }
}

template <typename T>
void finite_patterns_come_back(const Format& format) {
  std::vector<uint16_t> patterns;
  for (const uint16_t bits : all_patterns())
    if (std::isfinite(format.value(bits))) patterns.push_back(bits);
  std::vector<uint16_t> stored(patterns.size());
  EXPECT_TRUE(store(format.dtype, loaded<T>(format.dtype, patterns).data(), bytes(stored), std::ssize(stored)));
  EXPECT_EQ(stored, patterns);
}

TEST_P(Convert, StoresWhatItLoaded) {
  for (const Format& format : kFormats) {
    finite_patterns_come_back<float>(format);
    finite_patterns_come_back<double>(format);
  }
}

// x itself is checked, and so is its negative.
template <typename T>
void expect_rounded(const Format& format, std::vector<T> x) {
  for (size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  std::vector<uint16_t> stored(x.size());
  bool all_finite = true;
  const bool ok = store(format.dtype, x.data(), bytes(stored), std::ssize(x));
  for (size_t i = 0; i < x.size(); ++i) {
    const uint16_t expected = format.nearest(x[i]);
    all_finite &= expected % 0x8000 != format.infinity();
    ASSERT_EQ(stored[i], expected) << std::hexfloat << x[i];
  }
  EXPECT_EQ(ok, all_finite);
}

// The neighbours of a halfway point in double are rounded onto it by a detour through float: the double-rounding trap.
template <typename T>
std::vector<T> around_halfway(const Format& format) {
  std::vector<T> x;
  for (uint16_t bits = 0; bits < format.infinity(); ++bits) {
    const T half = static_cast<T>(format.halfway(bits));
    x.insert(x.end(), {std::nextafter(half, T{0}), half, std::nextafter(half, std::numeric_limits<T>::infinity())});
  }
  return x;
}

TEST_P(Convert, RoundsOnceToNearestEvenAtEveryHalfwayPoint) {
  for (const Format& format : kFormats) {
    expect_rounded(format, around_halfway<float>(format));
    expect_rounded(format, around_halfway<double>(format));
  }
}

template <typename T, typename Bits>
std::vector<T> random_patterns(int64_t n) {
  std::mt19937_64 engine(5);
  std::vector<T> x;
  while (std::ssize(x) < n)
    if (const T value = std::bit_cast<T>(static_cast<Bits>(engine())); !std::isnan(value)) x.push_back(value);
  return x;
}

// Of every size that the formats know, and somewhat beyond.
std::vector<double> random_magnitudes(int64_t n) {
  std::mt19937_64 engine(6);
  std::uniform_real_distribution<double> exponent(-140, 130), fraction(1, 2);
  std::vector<double> x;
  while (std::ssize(x) < n) x.push_back(std::ldexp(fraction(engine), static_cast<int>(exponent(engine))));
  return x;
}

TEST_P(Convert, RoundsAnyBitsToNearestEven) {
  for (const Format& format : kFormats) {
    expect_rounded(format, random_patterns<float, uint32_t>(100000));
    expect_rounded(format, random_patterns<double, uint64_t>(100000));
    expect_rounded(format, random_magnitudes(100000));
  }
}

// Payloads that a careless rounding would carry into infinity, zero or a negative number.
template <typename T>
void nan_stays_nan(const Format& format, T nan) {
  const std::vector<T> x(40, nan);
  std::vector<uint16_t> stored(40);
  EXPECT_FALSE(store(format.dtype, x.data(), bytes(stored), 40));
  for (const uint16_t bits : stored) ASSERT_TRUE(std::isnan(format.value(bits)));
}

TEST_P(Convert, NanStaysNanAndInfinityInfinity) {
  for (const Format& format : kFormats) {
    for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xffffffffu, 0x7fc00000u, 0x7f80ffffu})
      nan_stays_nan(format, std::bit_cast<float>(bits));
    for (const uint64_t bits : {0x7ff0000000000001u, 0x7fffffffffffffffu, 0xffffffffffffffffu, 0x7ff8000000000000u})
      nan_stays_nan(format, std::bit_cast<double>(bits));
    expect_rounded(format, std::vector<float>{INFINITY, std::numeric_limits<float>::max()});
    expect_rounded(format, std::vector<double>{kInfinity, std::numeric_limits<double>::max()});
  }
}

TEST_P(Convert, DoublesBecomeFloatsLikeACast) {
  auto x = random_magnitudes(100000);
  for (double& value : x) value *= std::ldexp(1.0, -8);  // subnormal floats as well
  x.insert(x.end(), {0.0, -0.0, std::numeric_limits<float>::max() * 1.0, 0x1.fffffefffffffp127});
  std::vector<float> stored(x.size());
  EXPECT_TRUE(store(DType::F32, x.data(), bytes(stored), std::ssize(x)));
  const auto values = loaded<float>(DType::F64, x);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto expected = std::bit_cast<uint32_t>(static_cast<float>(x[i]));
    ASSERT_EQ(std::bit_cast<uint32_t>(stored[i]), expected) << std::hexfloat << x[i];
    ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), expected) << std::hexfloat << x[i];
  }
}

TEST_P(Convert, WhatIsTooLargeForAFloatIsReported) {
  for (const double large : {0x1.ffffffp127, -0x1.ffffffp127, 1e300, kInfinity, -kInfinity}) {
    std::vector<float> stored(1);
    EXPECT_FALSE(store(DType::F32, &large, bytes(stored), 1));
    EXPECT_EQ(stored[0], large > 0 ? INFINITY : -INFINITY);
  }
}

// Any length from any address, and nothing beside the n elements touched.
template <typename T>
void any_place_and_length(DType dtype) {
  const int64_t width = info(dtype).bits / 8;
  std::vector<T> x(80), y(80);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i) - 40;
  for (int64_t n = 0; n <= 70; ++n) {
    for (const int64_t offset : {0, 1, 2, 3, 5}) {
      std::vector<std::byte> stored(static_cast<size_t>(offset + n * width + 16), std::byte{0xa5});
      ASSERT_TRUE(store(dtype, x.data() + 1, stored.data() + offset, n));
      for (int64_t i = 0; i < offset; ++i) ASSERT_EQ(stored[static_cast<size_t>(i)], std::byte{0xa5});
      for (int64_t i = 0; i < 16; ++i) ASSERT_EQ(stored[stored.size() - 1 - static_cast<size_t>(i)], std::byte{0xa5});
      std::fill(y.begin(), y.end(), T{99});
      load(dtype, stored.data() + offset, y.data() + 1, n);
      for (int64_t i = 0; i < std::ssize(y); ++i) {
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(y[at], i >= 1 && i <= n ? x[at] : T{99}) << info(dtype).name << " " << n << " at " << offset;
      }
    }
  }
}

TEST_P(Convert, TakesAnyLengthAtAnyAddress) {
  for (const DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
    any_place_and_length<float>(dtype);
    any_place_and_length<double>(dtype);
  }
}

template <typename T>
void one_bad_value_is_found(DType dtype) {
  std::vector<std::byte> stored(8 * 70);
  for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
    for (int64_t n = 1; n <= 70; ++n) {
      std::vector<T> x(static_cast<size_t>(n), T{1});
      for (auto& value : x) {
        value = static_cast<T>(bad);
        ASSERT_FALSE(store(dtype, x.data(), stored.data(), n)) << info(dtype).name << " " << n;
        value = T{1};
      }
      ASSERT_TRUE(store(dtype, x.data(), stored.data(), n));
    }
  }
}

TEST_P(Convert, FindsOneBadValueAnywhere) {
  for (const DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
    one_bad_value_is_found<float>(dtype);
    one_bad_value_is_found<double>(dtype);
  }
}

TEST_P(Convert, RefusesTypesItCannotComputeWith) {
  std::byte stored[8] = {};
  float x[1] = {};
  EXPECT_THROW(load(DType::I32, stored, x, 1), Error);
  EXPECT_THROW((void)store(DType::F8_E4M3, x, stored, 1), Error);
}

}  // namespace
}  // namespace spinor::convert_test
