#include "spinor/linalg/nearest_orthogonal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "spinor/linalg/fixing_ones.h"
#include "spinor/linalg/orthogonal.h"

namespace spinor::nearest_orthogonal_test {
namespace {

Matrix<double> orthogonal(int64_t n) {
  Random random(5);
  return random_orthogonal(n, random);
}

// Every entry rounded to this many binary digits.
Matrix<double> rounded(Matrix<double> m, int digits) {
  for (double& x : m.data) {
    int exponent = 0;
    const double mantissa = std::frexp(x, &exponent);
    x = std::ldexp(std::nearbyint(std::ldexp(mantissa, digits)), exponent - digits);
  }
  return m;
}

double error_of(const Matrix<double>& m) {
  return orthogonality_error({m.data.data(), m.rows, m.cols});
}

double distance(const Matrix<double>& a, const Matrix<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.data.size(); ++i) largest = std::max(largest, std::abs(a.data[i] - b.data[i]));
  return largest;
}

TEST(MakeOrthogonal, TakesRoundingBack) {
  for (const int64_t n : {1, 3, 64, 130}) {
    const Matrix<double> exact = orthogonal(n);
    for (const int digits : {8, 24}) {
      Matrix<double> x = rounded(exact, digits);
      const double before = error_of(x), u = std::ldexp(1.0, -digits);
      EXPECT_NEAR(make_orthogonal(x, 2 * u), before, 1e-14);
      EXPECT_LE(error_of(x), kOrthogonal);
      EXPECT_LE(distance(x, exact), 2 * u);  // entries are below 1, and the nearest is no farther than the exact one
    }
  }
}

TEST(MakeOrthogonal, LeavesWhatIsOrthogonal) {
  const Matrix<double> exact = orthogonal(96);
  Matrix<double> x = exact;
  EXPECT_LT(make_orthogonal(x, 1e-13), 1e-13);
  EXPECT_EQ(x.data, exact.data);
}

TEST(RestoreOnes, MakesWhatAMatrixDoesToTheOnesExact) {
  Random random(7);
  const Matrix<double> exact = random_orthogonal_fixing_ones(96, random);
  Matrix<double> x = rounded(exact, 24);
  ASSERT_LT(make_orthogonal(x, 0x1p-14), 0x1p-14);
  EXPECT_GT(ones_error(x), 1e-9);
  restore_ones(x);
  EXPECT_LE(ones_error(x), kOrthogonal);
  EXPECT_LE(error_of(x), kOrthogonal);
  EXPECT_LE(distance(x, exact), 0x1p-22);  // rounding moved it by 2^-24, and the ones by sqrt(96) of that at most
}

TEST(MakeOrthogonal, DoesNotDependOnThreads) {
  Matrix<double> one = rounded(orthogonal(150), 8), four = one;
  make_orthogonal(one, 0.01, 1);
  make_orthogonal(four, 0.01, 4);
  EXPECT_EQ(one.data, four.data);
}

TEST(MakeOrthogonal, SaysHowFarOthersAre) {
  Matrix<double> x(2, 2);
  x.data = {1, 0, 0, 1.5};
  EXPECT_EQ(make_orthogonal(x, 0.1), 1.25);
  x.data = {1, 0, 0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_TRUE(std::isnan(make_orthogonal(x, 0.1)));
  Matrix<double> zero(3, 3);
  EXPECT_EQ(make_orthogonal(zero, 10), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace spinor::nearest_orthogonal_test
