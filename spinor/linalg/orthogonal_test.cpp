#include "spinor/linalg/orthogonal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <numeric>
#include <sstream>

#include "spinor/base/json.h"
#include "spinor/linalg/cpu.h"

namespace spinor::orthogonal_test {
namespace {

Matrix<double> draw(int64_t n, uint64_t seed, int threads = 1) {
  Random random(seed);
  return random_orthogonal(n, random, threads);
}

// Each of n reflections rounds every entry a few times; the errors add up like a random walk.
double rounding_bound(int64_t n) {
  return 8 * 0x1p-52 * std::sqrt(static_cast<double>(n));
}

TEST(RandomOrthogonal, IsOrthogonal) {
  for (const int64_t n : {1, 2, 3, 7, 8, 9, 16, 17, 100, 128, 129, 130, 300, 576}) {
    const Matrix<double> q = draw(n, 1);
    EXPECT_LE(orthogonality_error(q.view()), rounding_bound(n)) << n;
  }
}

TEST(RandomOrthogonal, IsTheTextbooksBitForBit) {
  std::stringstream text;
  text << std::ifstream(SPINOR_SOURCE_DIR "/tests/golden/orthogonal.json").rdbuf();
  for (const Json& golden : parse_json(text.str(), "orthogonal.json")) {
    const int64_t n = golden["n"];
    const Matrix<double> q = draw(n, golden["seed"]);
    for (int64_t i = 0; i < n; ++i) {
      std::string row;
      for (int64_t j = 0; j < n; ++j) row += fmt::format("{:016x}", std::bit_cast<uint64_t>(q(i, j)));
      EXPECT_EQ(row, golden["rows"][static_cast<size_t>(i)].get<std::string>()) << n << " row " << i;
    }
  }
}

TEST(RandomOrthogonal, HasTheSameBitsAtEveryCpuLevelAndThreadCount) {
  const std::string_view level = cpu_level();
  for (const int64_t n : {5, 64, 300}) {  // 300: several batches of reflections, no multiple of any block
    const Matrix<double> expected = draw(n, 0);
    for (const std::string_view other : cpu_levels()) {
      set_cpu_level(other);
      for (const int threads : {1, 2, 3}) EXPECT_EQ(draw(n, 0, threads).data, expected.data) << other << " " << threads;
    }
    set_cpu_level(level);
  }
}

TEST(RandomOrthogonal, LeavesTheStreamWhereEveryThreadCountLeavesIt) {
  Random one, three;
  random_orthogonal(40, one, 1);
  random_orthogonal(40, three, 3);
  const double next = one.normal();
  EXPECT_EQ(next, three.normal());
  EXPECT_NE(draw(3, 0).data, draw(3, 1).data);
}

TEST(RandomOrthogonal, OfOrderZeroIsEmpty) {
  EXPECT_TRUE(draw(0, 0).data.empty());
}

TEST(RandomOrthogonal, OfOrderOneIsASignEitherWay) {
  Random random(0);
  int positive = 0;
  for (int i = 0; i < 1000; ++i) positive += random_orthogonal(1, random, 1)(0, 0) == 1;
  EXPECT_NEAR(positive, 500, 4 * std::sqrt(250.0));  // four standard deviations
}

constexpr int kDraws = 20'000;

// In three dimensions a coordinate of a uniform point on the sphere is uniform on [-1, 1] (Archimedes).
TEST(RandomOrthogonal, EveryEntryOfOrderThreeIsUniform) {
  Random random(0);
  std::array<std::vector<double>, 9> entries;
  for (int i = 0; i < kDraws; ++i) {
    const Matrix<double> q = random_orthogonal(3, random, 1);
    for (size_t j = 0; j < 9; ++j) entries[j].push_back(q.data[j]);
  }
  for (std::vector<double>& entry : entries) {
    std::ranges::sort(entry);
    double distance = 0;
    for (size_t i = 0; i < entry.size(); ++i)
      distance = std::max(distance, std::abs((entry[i] + 1) / 2 - (static_cast<double>(i) + 0.5) / kDraws));
    EXPECT_LT(distance * std::sqrt(kDraws), 2.2);  // Kolmogorov and Smirnov: exceeded once in 8000 tests
  }
}

// Diaconis and Evans (2001): the trace has the moments of a normal variable, here up to the eighth.
TEST(RandomOrthogonal, TheTraceHasNormalMoments) {
  Random random(0);
  std::array<double, 5> moments{};
  for (int i = 0; i < kDraws; ++i) {
    const Matrix<double> q = random_orthogonal(5, random, 1);
    const double trace = q(0, 0) + q(1, 1) + q(2, 2) + q(3, 3) + q(4, 4);
    for (size_t k = 1; k < moments.size(); ++k) moments[k] += std::pow(trace, k) / kDraws;
  }
  const double deviation = 4 / std::sqrt(kDraws);  // four standard deviations of a mean of variance 1
  EXPECT_NEAR(moments[1], 0, deviation);
  EXPECT_NEAR(moments[2], 1, deviation * std::sqrt(3 - 1));
  EXPECT_NEAR(moments[3], 0, deviation * std::sqrt(15));
  EXPECT_NEAR(moments[4], 3, deviation * std::sqrt(105 - 9));
}

// E q_ij q_kl = 1 / n for the same entry, else 0; E q_ij^2 q_kl^2 <= 3 / (n (n + 2)).
TEST(RandomOrthogonal, EntriesAreUncorrelatedAndOfOneVariance) {
  constexpr size_t n = 4, entries = n * n;
  Random random(0);
  std::array<std::array<double, entries>, entries> products{};
  for (int draws = 0; draws < kDraws; ++draws) {
    const Matrix<double> q = random_orthogonal(n, random, 1);
    for (size_t i = 0; i < entries; ++i)
      for (size_t j = 0; j < entries; ++j) products[i][j] += q.data[i] * q.data[j] / kDraws;
  }
  const double deviation = 5 * std::sqrt(3.0 / (n * (n + 2)) / kDraws);  // 136 tests: five standard deviations
  for (size_t i = 0; i < entries; ++i)
    for (size_t j = 0; j < entries; ++j) EXPECT_NEAR(products[i][j], i == j ? 1.0 / n : 0, deviation);
}

TEST(RandomOrthogonal, RotationsAndReflectionsAreEquallyLikely) {
  Random random(0);
  int rotations = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Matrix<double> q = random_orthogonal(2, random, 1);
    rotations += q(0, 0) * q(1, 1) - q(0, 1) * q(1, 0) > 0;
  }
  EXPECT_NEAR(rotations, kDraws / 2, 4 * std::sqrt(kDraws / 4.0));
}

TEST(OrthogonalityError, IsTheLargestEntryOfTheDifference) {
  constexpr int64_t n = 600;  // more than one tile
  Matrix<double> m(n, n);
  for (int64_t i = 0; i < n; ++i) m(i, (i * 7) % n) = i % 2 ? 1 : -1;  // a signed permutation
  EXPECT_EQ(orthogonality_error(m.view()), 0);
  m(599, 599 * 7 % n) = 1.5;
  EXPECT_EQ(orthogonality_error(m.view()), 1.25);
  m(599, 599 * 7 % n) = -1;
  m(599, 0) = 0.25;  // row 0 is -e_0
  EXPECT_EQ(orthogonality_error(m.view()), 0.25);
  m(599, 0) = NAN;
  EXPECT_TRUE(std::isnan(orthogonality_error(m.view())));
}

}  // namespace
}  // namespace spinor::orthogonal_test
