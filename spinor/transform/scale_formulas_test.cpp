#include "spinor/transform/scale_formulas.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "spinor/base/error.h"

namespace spinor::scale_formulas_test {
namespace {

constexpr double kRounding = 1e-14;  // a few roundings of numbers of order one

double product(const std::vector<double>& factors) {
  return std::accumulate(factors.begin(), factors.end(), 1.0, std::multiplies());
}

TEST(ScaleFormulas, AnMlpsFactorsBalanceColumnsAndInputsAroundOne) {
  const std::vector<double> columns = {1, 4, 9}, inputs = {1, 1, 4}, c = mlp_scale(columns, inputs);
  const double mean = std::cbrt(1 * 2 * 1.5);
  EXPECT_NEAR(c[0], 1 / mean, kRounding);
  EXPECT_NEAR(c[1], 2 / mean, kRounding);
  EXPECT_NEAR(c[2], 1.5 / mean, kRounding);
  EXPECT_NEAR(product(c), 1, kRounding);
  // What both sides' errors follow is the least of all scales.
  const auto cost = [&](const std::vector<double>& d) {
    double x = 0, w = 0;
    for (size_t j = 0; j < d.size(); ++j) x += std::pow(inputs[j] * d[j], 2), w += std::pow(columns[j] / d[j], 2);
    return x * w;
  };
  for (size_t j = 0; j < c.size(); ++j) {
    std::vector<double> other = c;
    other[j] *= 1.01;
    EXPECT_LT(cost(c), cost(other));
  }
}

TEST(ScaleFormulas, SmallInputsCountAsAHundredthOfTheMean) {
  const std::vector<double> columns(200, 1.0);
  std::vector<double> inputs(200, 1.0);
  inputs[0] = 1e-9;
  const std::vector<double> c = mlp_scale(columns, inputs);
  EXPECT_NEAR(c[0] / c[1], 1 / std::sqrt(0.01 * 199 / 200), 1e-8);  // as far as 1e-9 is from 0
}

TEST(ScaleFormulas, WhereNothingWasMeasuredTheFactorIsOne) {
  EXPECT_EQ(mlp_scale(std::vector<double>{1, 2}, std::vector<double>{0, 0}), (std::vector<double>{1, 1}));
  const std::vector<double> c = mlp_scale(std::vector<double>{0, 4, 1}, std::vector<double>{1, 1, 1});
  EXPECT_EQ(c[0], 1);
  EXPECT_NEAR(c[1] * c[2], 1, kRounding);
  EXPECT_EQ(mlp_scale(std::vector<double>{1}, std::vector<double>{NAN}), std::vector<double>{1});
}

// Two key-value heads of four entries, each read by two query heads.
LegalScale heads(ScaleKind kind, int64_t turning, bool interleaved) {
  return {.kind = kind,
          .name = "k_proj",
          .writer = {.size = 8},
          .readers = {{.size = 16}},
          .head_dim = 4,
          .turning = turning,
          .interleaved = interleaved};
}

TEST(ScaleFormulas, APairOfAKeyValueHeadTakesOneFactor) {
  const std::vector<double> queries = {1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 2, 2, 2, 2}, keys = {1, 1, 1, 1, 4, 1, 1, 1};
  const auto rms = [](double a, double b, double c, double d) {
    return std::sqrt((a * a + b * b + c * c + d * d) / 4);
  };
  const std::vector<double> halves = key_scale(heads(ScaleKind::k, 4, false), queries, keys);
  EXPECT_NEAR(halves[0], std::sqrt(rms(1, 3, 5, 7)), kRounding);
  EXPECT_EQ(halves[2], halves[0]);
  EXPECT_NEAR(halves[1], std::sqrt(rms(2, 4, 6, 8)), kRounding);
  EXPECT_NEAR(halves[4], std::sqrt(rms(1, 1, 2, 2) / std::sqrt((16 + 1) / 2.0)), kRounding);
  const std::vector<double> neighbours = key_scale(heads(ScaleKind::k, 2, true), queries, keys);
  EXPECT_NEAR(neighbours[0], std::sqrt(rms(1, 2, 5, 6)), kRounding);
  EXPECT_EQ(neighbours[1], neighbours[0]);
  EXPECT_NEAR(neighbours[2], std::sqrt(std::sqrt((9 + 49) / 2.0)), kRounding);  // it does not turn
  EXPECT_NE(neighbours[3], neighbours[2]);
}

TEST(ScaleFormulas, AChannelOfTheValuesBalancesWhatAllItsHeadsReadAndAre) {
  std::vector<double> columns(16, 1.0), inputs(16, 1.0);
  columns[1] = 3, columns[5] = 4, inputs[9] = 2;
  const std::vector<double> d = value_scale(heads(ScaleKind::v, 0, false), columns, inputs);
  EXPECT_NEAR(d[1], std::sqrt(5 / std::sqrt(2.0)), kRounding);
  EXPECT_NEAR(d[5], std::sqrt(std::sqrt(2.0 / 5)), kRounding);
  EXPECT_EQ(d[0], 1);
}

TEST(ScaleFormulas, OtherNumbersOfChannelsAreRefused) {
  EXPECT_THROW(mlp_scale(std::vector<double>{1, 2}, std::vector<double>{1}), Error);
  EXPECT_THROW(key_scale(heads(ScaleKind::k, 4, false), std::vector<double>(8), std::vector<double>(8)), Error);
  EXPECT_THROW(value_scale(heads(ScaleKind::v, 0, false), std::vector<double>(16), std::vector<double>(8)), Error);
}

}  // namespace
}  // namespace spinor::scale_formulas_test
