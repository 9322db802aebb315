#include "spinor/quant/round.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "spinor/linalg/cpu.h"
#include "spinor/quant/float8.h"

namespace spinor::round_test {
namespace {

class Round : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, Round, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

std::vector<uint8_t> codes_of(const Numbers& numbers, const std::vector<float>& x, Affine affine = {}) {
  std::vector<uint8_t> codes(x.size());
  quantize(numbers, x.data(), std::ssize(x), {std::ssize(x), 1}, &affine, codes.data());
  return codes;
}

std::vector<float> values_of(const Numbers& numbers, const std::vector<uint8_t>& codes, Affine affine = {}) {
  std::vector<float> x(codes.size());
  EXPECT_TRUE(dequantize(numbers, codes.data(), std::ssize(codes), {std::ssize(codes), 1}, &affine, x.data()));
  return x;
}

TEST_P(Round, IntegersRoundHalfToEvenAfterClamping) {
  const std::vector<float> x = {0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 7.5F, 100, -8.5F, -100, 0.49999997F};
  const std::vector<uint8_t> expected = {8, 10, 10, 8, 6, 15, 15, 0, 0, 8};
  EXPECT_EQ(codes_of({.bits = 4, .bias = 8}, x), expected);
  std::vector<uint8_t> as_int8 = expected;
  for (uint8_t& code : as_int8) code = static_cast<uint8_t>(code - 8);
  EXPECT_EQ(codes_of({.bits = 4}, x), as_int8);
}

TEST_P(Round, Fp4TiesGoToTheEvenCodeAndOnlyNegativeNumbersHaveASign) {
  const std::vector<float> x = {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5, 6, 1000, -0.1F, -0.0F, -0.75F, 0.26F};
  const std::vector<uint8_t> expected = {0, 2, 2, 4, 4, 6, 6, 7, 7, 8, 0, 10, 1};
  EXPECT_EQ(codes_of({.type = CodeType::e2m1, .bits = 4}, x), expected);
}

TEST_P(Round, E4M3IsTheScalarCodec) {
  std::mt19937 engine(2);
  std::uniform_real_distribution<float> exponent(-12, 8.8F);
  std::vector<float> x = {0, 448, -448, 0x1p-10F, 0x1p-9F, 0x1.8p-9F, 0x1p-6F, 0x1.fp-7F};
  while (x.size() < 5000) x.push_back(std::exp2(exponent(engine)) * (x.size() % 2 == 0 ? 1.0F : -1.0F));
  const Numbers numbers{.type = CodeType::e4m3};
  const auto codes = codes_of(numbers, x);
  const auto back = values_of(numbers, codes);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(codes[i], to_e4m3(std::clamp(x[i], -448.0F, 448.0F))) << std::hexfloat << x[i];
    ASSERT_EQ(back[i], from_e4m3(codes[i]));
  }
}

TEST_P(Round, EveryCodeComesBack) {
  for (const Numbers& numbers : {Numbers{.bits = 8, .bias = 128}, Numbers{.bits = 8}, Numbers{.bits = 3, .bias = 4},
                                 Numbers{.type = CodeType::e2m1, .bits = 4}, Numbers{.type = CodeType::e4m3}}) {
    std::vector<uint8_t> codes;
    for (int code = 0; code < 1 << numbers.bits; ++code)
      if (numbers.type != CodeType::e4m3 || (code & 0x7f) != 0x7f) codes.push_back(static_cast<uint8_t>(code));
    auto expected = codes;
    if (numbers.type == CodeType::e4m3) expected[127] = 0;  // -0 + zero point 0 is 0
    if (numbers.type == CodeType::e2m1) expected[8] = 0;
    EXPECT_EQ(codes_of(numbers, values_of(numbers, codes, {3, 0}), {3, 0}), expected);
  }
}

TEST_P(Round, RangesHoldEveryElementOfTheirGroupOnly) {
  std::mt19937 engine(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(150);
  for (float& value : x) value = normal(engine);
  for (const Segments& groups : {Segments{150, 1}, Segments{7, 16}, Segments{1, 33}, Segments{200, 8}}) {
    for (int64_t n = 1; n <= 150; ++n) {
      const auto count = static_cast<size_t>(groups.count(n));
      std::vector<float> low(count), high(count), expected_low(count), expected_high(count);
      for (int64_t i = 0; i < n; ++i) {
        const auto g = static_cast<size_t>(i < groups.first ? 0 : 1 + (i - groups.first) / groups.size);
        expected_low[g] = std::min(expected_low[g], x[static_cast<size_t>(i)]);
        expected_high[g] = std::max(expected_high[g], x[static_cast<size_t>(i)]);
      }
      ASSERT_TRUE(widen(x.data(), n, groups, low.data(), high.data()));
      ASSERT_EQ(low, expected_low) << n;
      ASSERT_EQ(high, expected_high) << n;
    }
  }
}

TEST_P(Round, OneValueThatIsNotFiniteIsFoundAnywhere) {
  for (const float bad : {INFINITY, -INFINITY, NAN, -NAN}) {
    for (size_t at = 0; at < 50; ++at) {
      std::vector<float> x(50, 1.0F);
      x[at] = bad;
      float low[8] = {}, high[8] = {};
      ASSERT_FALSE(widen(x.data(), 50, {3, 16}, low, high));
    }
  }
}

// The bound is that of round.h, at its worst where the level has no fused multiply-add.
TEST_P(Round, PowersAreAccurate) {
  for (const double p : {1.0, 2.0, 2.4, 3.7}) {
    const PowerNorm norm(p);
    for (double d = 1e-6; d < 0.5; d *= 1.0173) {
      const auto x = static_cast<float>(d);
      double error = 0;
      const Affine one;
      add_errors({.bits = 8}, norm, &x, 1, {&one, 1}, &error);  // the code is 0
      const double expected = std::pow(static_cast<double>(x), static_cast<double>(norm.norm));
      ASSERT_NEAR(error / expected, 1, 1e-6 + 6e-8 * std::fabs(std::log2(expected))) << d << "^" << p;
    }
  }
}

TEST_P(Round, ErrorsOfExactValuesAreZero) {
  std::vector<float> x(37);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i % 15) - 7) * 0.25F;
  const Affine candidates[] = {{0.25F, 0}, {0.25F, 1}, {1, 0}};
  double errors[3] = {};
  add_errors({.bits = 4}, PowerNorm(2.4), x.data(), std::ssize(x), candidates, errors);
  EXPECT_EQ(errors[0], 0);
  EXPECT_GT(errors[1], 0);  // 7 + 1 is clamped
  EXPECT_GT(errors[2], 0);
}

TEST_P(Round, ErrorsWeighAsTheirImportanceSays) {
  std::vector<float> x(37), importance(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = 0.3F + static_cast<float>(i) * 0.01F;
    importance[i] = static_cast<float>(i % 4);
  }
  const PowerNorm norm(3);
  const Affine one{0.5F, 0};
  for (const DType arithmetic : {DType::F32, DType::BF16}) {
    const Numbers numbers{.bits = 4, .arithmetic = arithmetic};
    double sum = 0, expected = 0;
    add_errors(numbers, norm, x.data(), std::ssize(x), {&one, 1}, &sum, importance.data());
    for (size_t i = 0; i < x.size(); ++i) {  // 0.5 and 1 are exact in both
      const double q = std::nearbyint(std::min(2.0F * x[i], 7.0F)) / 2;
      expected += importance[i] * std::pow(std::fabs(q - static_cast<double>(x[i])), 3);
    }
    EXPECT_NEAR(sum / expected, 1, 2e-6);
  }
}

}  // namespace
}  // namespace spinor::round_test
