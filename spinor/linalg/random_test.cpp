#include "spinor/linalg/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace spinor::random_test {
namespace {

std::string text(const std::vector<int8_t>& signs) {
  std::string s;
  for (const int8_t sign : signs) s += sign > 0 ? '+' : '-';
  return s;
}

TEST(Random, SignsAreTorchs) {
  EXPECT_EQ(text(Random().signs(32)), "--+-++--++-++--+-+---++--++--+++");
  EXPECT_EQ(text(Random(42).signs(32)), "-+---+---+----+-+++-+-++++++++--");
}

TEST(Random, OnlyTheLow32BitsOfTheSeedCount) {
  EXPECT_EQ(Random(kPeerSeed).signs(64), Random(4053586177).signs(64));
  EXPECT_NE(Random(kPeerSeed).signs(64), Random(kPeerSeed + 1).signs(64));
}

TEST(Random, PermutationIsTorchs) {
  EXPECT_EQ(Random().permutation(8), (std::vector<int64_t>{6, 0, 7, 3, 5, 2, 1, 4}));
  EXPECT_TRUE(Random().permutation(0).empty());
  std::vector<int64_t> p = Random(3).permutation(1000);
  EXPECT_FALSE(std::ranges::is_sorted(p));
  std::ranges::sort(p);
  for (size_t i = 0; i < p.size(); ++i) EXPECT_EQ(p[i], static_cast<int64_t>(i));
}

TEST(Random, UniformDrawsAreTorchs) {
  Random random;
  EXPECT_EQ(random.uniform_double(), 0.13836205913224875);
  EXPECT_EQ(random.uniform_double(), 0.68231094703640016);
  EXPECT_EQ(random.uniform_double(), 0.29695776935220619);
  Random narrow;
  EXPECT_EQ(narrow.uniform_float(), 0.267295241f);
  EXPECT_EQ(narrow.uniform_float(), 0.872528315f);
  EXPECT_EQ(narrow.uniform_float(), 0.335288823f);
}

TEST(Random, NormalStartsWithTheSameBitsEverywhere) {
  Random random;
  for (const double expected : {-0x1.a3c1e7254b716p-1, -0x1.b6e810cd238ecp+0, 0x1.2ecc0f043a406p+0,
                                -0x1.0dcf9fd1d66d2p-2, 0x1.b6585e03af795p-1, -0x1.4da2f4b9d1946p-6})
    EXPECT_EQ(random.normal(), expected);
}

TEST(Random, NormalHasTheMomentsOfANormal) {
  Random random;
  const int n = 1000000;
  double sums[5] = {};
  int beyond_two = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    for (int power = 1; power <= 4; ++power) sums[power] += std::pow(x, power) / n;
    beyond_two += std::abs(x) > 2;
  }
  // Five standard deviations of each mean: sqrt(var / n) with var = 1, 2, 15, 96.
  EXPECT_NEAR(sums[1], 0, 0.005);
  EXPECT_NEAR(sums[2], 1, 0.0071);
  EXPECT_NEAR(sums[3], 0, 0.0194);
  EXPECT_NEAR(sums[4], 3, 0.049);
  EXPECT_NEAR(beyond_two / static_cast<double>(n), 0.0455003, 0.0011);
}

TEST(Random, NormalIsThePolarMethodToTheLastBitsOfALogarithm) {
  Random ours, uniforms;
  for (int i = 0; i < 10000;) {
    const double u = 2 * uniforms.uniform_double() - 1, v = 2 * uniforms.uniform_double() - 1, s = u * u + v * v;
    if (s >= 1 || s == 0) continue;
    const double expected = u * std::sqrt(-2 * std::log(s) / s);
    EXPECT_NEAR(ours.normal(), expected, 4e-16 * std::abs(expected));  // both logarithms are good to an ulp or two
    ++i;
  }
}

}  // namespace
}  // namespace spinor::random_test
