#include "spinor/linalg/inverse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "spinor/base/error.h"
#include "spinor/linalg/gemm.h"

namespace spinor::inverse_test {
namespace {

Matrix<double> random_matrix(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  Matrix<double> m(rows, cols);
  for (double& x : m.data) x = uniform(engine);
  return m;
}

TEST(Inverse, UndoesTheMatrix) {
  for (const int64_t n : {1, 2, 17, 100, 200}) {
    Matrix<double> m = random_matrix(n, n, 3);
    for (int64_t i = 0; i < n; ++i) m(i, i) += 2.0 * std::sqrt(static_cast<double>(n));  // condition number below 10
    const Matrix<double> x = inverse(m);
    for (const bool left : {false, true}) {
      Matrix<double> product(n, n);
      gemm<double>((left ? x : m).view(), (left ? m : x).view(), product.view());
      // n eps times the condition number and a small constant of LU.
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) ASSERT_NEAR(product(i, j), i == j, 1e-12);
    }
  }
}

TEST(Inverse, OfATransposeIsTheTransposeOfTheInverse) {
  Matrix<double> m(2, 2);
  m.data = {1, 2, 0, 4};
  EXPECT_EQ(inverse(m).data, (std::vector<double>{1, -0.5, 0, 0.25}));
}

TEST(Inverse, NeedsPivots) {
  Matrix<double> m(2, 2);
  m.data = {0, 2, 4, 0};
  EXPECT_EQ(inverse(m).data, (std::vector<double>{0, 0.25, 0.5, 0}));
}

TEST(Inverse, ASingularMatrixIsAnError) {
  for (const std::vector<double>& data : {std::vector<double>{0, 0, 0, 0}, {1, 2, 2, 4}, {1, 0, 0, NAN}}) {
    Matrix<double> m(2, 2);
    m.data = data;
    try {
      inverse(m);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "matrix (2, 2): is singular, it has no inverse");
    }
  }
}

}  // namespace
}  // namespace spinor::inverse_test
