#include "spinor/linalg/fixing_ones.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/linalg/orthogonal.h"

namespace spinor::fixing_ones_test {
namespace {

Rotation fixed(int64_t n) {
  return hadamard_fixing_ones(n, bent_signs(n), bent_signs(n));
}

Rotation random_one(int64_t n, uint64_t seed = 42, bool permuted = false) {
  Random random(seed);
  const std::vector<int8_t> left = random.signs(n), right = random.signs(n);
  return hadamard_fixing_ones(n, left, right, permuted ? random.permutation(n) : std::vector<int64_t>());
}

Rotation orthogonal_one(int64_t n, uint64_t seed = 42) {
  Random random(seed);
  return Rotation::dense(random_orthogonal_fixing_ones(n, random), true);
}

std::vector<Rotation> all_of(int64_t n) {
  return {fixed(n), random_one(n), random_one(n, 7, true), orthogonal_one(n), random_one(n).transposed()};
}

Matrix<double> normals(int64_t rows, int64_t cols) {
  Random random(3);
  Matrix<double> x(rows, cols);
  for (double& value : x.data) value = random.normal() + 0.5;
  return x;
}

double distance(const Matrix<double>& a, const Matrix<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.data.size(); ++i) worst = std::max(worst, std::abs(a.data[i] - b.data[i]));
  return worst;
}

Matrix<double> layer_norm(Matrix<double> x) {
  const auto n = static_cast<double>(x.cols);
  for (int64_t i = 0; i < x.rows; ++i) {
    double mean = 0, square = 0;
    for (int64_t j = 0; j < x.cols; ++j) mean += x(i, j) / n;
    for (int64_t j = 0; j < x.cols; ++j) square += (x(i, j) - mean) * (x(i, j) - mean) / n;
    for (int64_t j = 0; j < x.cols; ++j) x(i, j) = (x(i, j) - mean) / std::sqrt(square + 1e-5);
  }
  return x;
}

Matrix<double> right(const Rotation& r, Matrix<double> x) {
  std::vector<double> scratch;
  r.multiply_right(x.view(), scratch);
  return x;
}

Matrix<double> left(const Rotation& r, Matrix<double> x) {
  std::vector<double> scratch;
  r.multiply_left(x.view(), scratch);
  return x;
}

const std::vector<int64_t> kSmall = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 16, 28, 30, 32, 60, 64, 71, 98, 128};
const std::vector<int64_t> kLarge = {256, 509, 768, 1024, 1600};  // 2560 and 4544 below, where no matrix is written out

// Sums of up to 1600 products with entries of about 1 / sqrt(n): 1e-13 is hundreds of roundings.
TEST(FixingOnes, IsOrthogonalAndFixesTheOnesVector) {
  for (const auto& sizes : {kSmall, kLarge})
    for (const int64_t n : sizes)
      for (const Rotation& r : all_of(n)) {
        ASSERT_EQ(r.size(), n);
        EXPECT_TRUE(r.orthogonal());
        const Matrix<double> m = r.matrix();
        EXPECT_LT(orthogonality_error(m.view()), 1e-13) << n;
        for (int64_t i = 0; i < n; ++i) {
          double row = 0, column = 0;
          for (int64_t j = 0; j < n; ++j) row += m(i, j), column += m(j, i);
          ASSERT_NEAR(row, 1, 1e-13) << n;
          ASSERT_NEAR(column, 1, 1e-13) << n;
        }
      }
}

TEST(FixingOnes, IsAppliedAsItsMatrix) {
  for (const int64_t n : {3, 4, 7, 12, 28, 60, 64, 128, 768})
    for (const Rotation& r : all_of(n)) {
      const Matrix<double> m = r.matrix(), x = normals(3, 2 * n);
      Matrix<double> expected(3, 2 * n), columns(2 * n, 3), rotated_columns(2 * n, 3);
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t j = 0; j < 2 * n; ++j)
          for (int64_t k = 0; k < n; ++k) expected(i, j) += x(i, j / n * n + k) * m(k, j % n);
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t j = 0; j < 2 * n; ++j) columns(j, i) = x(i, j), rotated_columns(j, i) = expected(i, j);
      EXPECT_LT(distance(right(r, x), expected), 1e-12) << n;
      EXPECT_LT(distance(left(r.transposed(), columns), rotated_columns), 1e-12) << n;
      EXPECT_LT(distance(right(r.transposed(), right(r, x)), x), 1e-13) << n;
      EXPECT_LT(distance(left(r.transposed(), left(r, columns)), columns), 1e-13) << n;
    }
}

TEST(FixingOnes, ALayerNormCommutesWithIt) {
  for (const int64_t n : {3, 12, 60, 71, 768, 2560, 4096, 4544})
    for (const Rotation& r : {fixed(n), random_one(n), random_one(n, 7, true)}) {
      const Matrix<double> x = normals(4, n), ones = [n] {
        Matrix<double> m(1, n);
        m.data.assign(m.data.size(), 1);
        return m;
      }();
      EXPECT_LT(distance(layer_norm(right(r, x)), right(r, layer_norm(x))), 1e-13) << n;
      EXPECT_LT(distance(right(r, ones), ones), 1e-14) << n;
      EXPECT_LT(distance(right(r.transposed(), ones), ones), 1e-14) << n;
    }
}

TEST(FixingOnes, ABlockDiagonalOneDoesToo) {
  const Matrix<double> x = normals(4, 768);
  for (const Rotation& r : {fixed(64), random_one(96), orthogonal_one(32)})
    EXPECT_LT(distance(layer_norm(right(r, x)), right(r, layer_norm(x))), 1e-13);
}

// The peak of a row in units of its rms: 1 for a Hadamard matrix, about 3.7 for H^T D H / n.
double worst_peak(const Rotation& r) {
  double peak = 0;
  for (const double entry : r.matrix().data) peak = std::max(peak, std::abs(entry));
  return peak * std::sqrt(static_cast<double>(r.size()));
}

TEST(FixingOnes, ItsEntriesAreAlmostAllOfOneSize) {
  for (const int64_t n : {4, 64, 256, 1024}) EXPECT_EQ(worst_peak(fixed(n)), 1) << n;
  for (const int64_t n : {512, 768, 1280, 1600}) EXPECT_LT(worst_peak(fixed(n)), 1.4) << n;
  for (const int64_t n : {768, 1024, 1600}) EXPECT_LT(worst_peak(random_one(n)), 1.8) << n;
}

TEST(FixingOnes, ASeedGivesOneMatrixAndAnotherGivesAnother) {
  for (const int64_t n : {7, 64, 768}) {
    EXPECT_EQ(distance(random_one(n, 1, true).matrix(), random_one(n, 1, true).matrix()), 0);
    EXPECT_GT(distance(random_one(n, 1).matrix(), random_one(n, 2).matrix()), 0.5 / std::sqrt(n));
    EXPECT_GT(distance(random_one(n, 1, true).matrix(), random_one(n, 1).matrix()), 0.5 / std::sqrt(n));
    EXPECT_EQ(distance(orthogonal_one(n, 1).matrix(), orthogonal_one(n, 1).matrix()), 0);
    EXPECT_GT(distance(orthogonal_one(n, 1).matrix(), orthogonal_one(n, 2).matrix()), 0.5 / std::sqrt(n));
  }
}

TEST(FixingOnes, ThePermutationActsOnRowsAndColumns) {
  for (const int64_t n : {7, 24}) {
    Random random(5);
    const std::vector<int8_t> left = random.signs(n), right = random.signs(n);
    const std::vector<int64_t> p = random.permutation(n);
    const Matrix<double> plain = hadamard_fixing_ones(n, left, right).matrix();
    const Matrix<double> permuted = hadamard_fixing_ones(n, left, right, p).matrix();
    for (size_t i = 0; i < p.size(); ++i)
      for (size_t j = 0; j < p.size(); ++j)
        EXPECT_NEAR(permuted(static_cast<int64_t>(i), static_cast<int64_t>(j)), plain(p[i], p[j]), 1e-15);
  }
}

TEST(FixingOnes, HasNoStoredForm) {
  EXPECT_THROW(random_one(64).stored(0, 0), Error);
  EXPECT_THROW(fixed(64).stored(0, 0), Error);
  EXPECT_FALSE(fixed(64).peer_has_order());
  EXPECT_GT(random_one(4096).bytes(), 4096 * 20);
  EXPECT_LT(random_one(4096).bytes(), 1 << 18);
}

}  // namespace
}  // namespace spinor::fixing_ones_test
