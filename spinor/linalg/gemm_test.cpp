#include "spinor/linalg/gemm.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "spinor/base/parallel.h"
#include "spinor/linalg/cpu.h"

namespace spinor::gemm_test {
namespace {

template <typename T>
Matrix<T> random_matrix(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  Matrix<T> m(rows, cols);
  for (T& x : m.data) x = static_cast<T>(uniform(engine));
  return m;
}

template <typename T>
Matrix<T> transposed(const Matrix<T>& m) {
  Matrix<T> t(m.cols, m.rows);
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.cols; ++j) t(j, i) = m(i, j);
  return t;
}

template <typename T>
class Gemm : public testing::Test {};
using Reals = testing::Types<float, double>;
TYPED_TEST_SUITE(Gemm, Reals);

// Every sum has k products below 1: any order of additions is within k^2 eps / 2 of the exact value.
TYPED_TEST(Gemm, EveryTranspositionIsTheSumOverTheInnerIndex) {
  // The last two are larger than a block in every direction.
  for (const auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                               {3, 5, 7},
                               {64, 1, 33},
                               {1, 50, 64},
                               {70, 80, 90},
                               {100, 30, 300},
                               {2, 2400, 5}}) {
    const auto a = random_matrix<TypeParam>(m, k, 1), b = random_matrix<TypeParam>(k, n, 2);
    const auto at = transposed(a), bt = transposed(b);
    const double bound = 0.5 * static_cast<double>(k * k) * std::numeric_limits<TypeParam>::epsilon();
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true}) {
        Matrix<TypeParam> c(m, n);
        c.data.assign(c.data.size(), NAN);  // whatever was there must not matter
        gemm<TypeParam>((transpose_a ? at : a).view(), (transpose_b ? bt : b).view(), c.view(), transpose_a,
                        transpose_b);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t l = 0; l < k; ++l) sum += double{a(i, l)} * double{b(l, j)};
            ASSERT_NEAR(c(i, j), sum, bound) << m << " " << n << " " << k << " at " << i << " " << j;
          }
      }
  }
}

TYPED_TEST(Gemm, ViewsOfLargerMatricesKeepTheirSurroundings) {
  const auto a = random_matrix<TypeParam>(9, 11, 1), b = random_matrix<TypeParam>(10, 12, 2);
  Matrix<TypeParam> c(8, 9), dense(4, 5);
  c.data.assign(c.data.size(), 7);
  Matrix<TypeParam> left(4, 6), right(6, 5);
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t l = 0; l < 6; ++l) left(i, l) = a(i + 2, l + 3);
  for (int64_t l = 0; l < 6; ++l)
    for (int64_t j = 0; j < 5; ++j) right(l, j) = b(l + 1, j + 4);
  gemm<TypeParam>(a.view().block(2, 3, 4, 6), b.view().block(1, 4, 6, 5), c.view().block(3, 2, 4, 5));
  gemm<TypeParam>(left.view(), right.view(), dense.view());
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 9; ++j) {
      const bool inside = i >= 3 && i < 7 && j >= 2 && j < 7;
      ASSERT_EQ(c(i, j), inside ? dense(i - 3, j - 2) : 7);
    }
}

TYPED_TEST(Gemm, EmptyMatrices) {
  Matrix<TypeParam> none(0, 3), wide(3, 4), empty(0, 4);
  gemm<TypeParam>(none.view(), wide.view(), empty.view());
  Matrix<TypeParam> c(2, 4), a(2, 0), b(0, 4);
  c.data.assign(c.data.size(), 7);
  gemm<TypeParam>(a.view(), b.view(), c.view());
  EXPECT_EQ(c.data, std::vector<TypeParam>(8, 0));  // a sum of nothing
}

TYPED_TEST(Gemm, SubtractsAProduct) {
  const auto a = random_matrix<TypeParam>(70, 300, 1), b = random_matrix<TypeParam>(300, 80, 2);
  Matrix<TypeParam> c(70, 80), product(70, 80);
  gemm<TypeParam>(a.view(), b.view(), product.view());
  gemm_subtract<TypeParam>(a.view(), b.view(), c.view());
  for (size_t i = 0; i < c.data.size(); ++i) ASSERT_EQ(c.data[i], -product.data[i]);
  gemm_subtract<TypeParam>(a.view().block(0, 0, 70, 0), b.view().block(0, 0, 0, 80), c.view());
  EXPECT_EQ(c.data[0], -product.data[0]);
}

TYPED_TEST(Gemm, AnElementHasTheSameBitsInEveryTile) {
  const auto a = random_matrix<TypeParam>(101, 300, 1), b = random_matrix<TypeParam>(300, 103, 2);
  Matrix<TypeParam> whole(101, 103);
  gemm<TypeParam>(a.view(), b.view(), whole.view());
  for (const auto [row, col, rows, cols] : {std::array<int64_t, 4>{0, 0, 1, 1}, {5, 7, 13, 29}, {98, 99, 3, 4}}) {
    Matrix<TypeParam> part(rows, cols);
    gemm<TypeParam>(a.view().block(row, 0, rows, 300), b.view().block(0, col, 300, cols), part.view());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) ASSERT_EQ(part(i, j), whole(row + i, col + j));
  }
}

TYPED_TEST(Gemm, CallsFromManyThreadsGiveTheBitsOfOne) {
  constexpr int64_t kCalls = 64;
  const auto a = random_matrix<TypeParam>(96, 160, 1), b = random_matrix<TypeParam>(160, 130, 2);
  Matrix<TypeParam> expected(96, 130);
  gemm<TypeParam>(a.view(), b.view(), expected.view());
  for (const int threads : {2, 8}) {
    std::vector<Matrix<TypeParam>> c(kCalls, Matrix<TypeParam>(96, 130));
    parallel_for(kCalls, threads, [&](int64_t call, int) {
      for (int again = 0; again < 4; ++again) gemm<TypeParam>(a.view(), b.view(), c[static_cast<size_t>(call)].view());
    });
    for (const auto& result : c) ASSERT_EQ(result.data, expected.data);
  }
}

TYPED_TEST(Gemm, EveryCpuLevelWithFusedMultiplyAddsGivesTheSameBits) {
  const std::string before(cpu_level());
  const auto a = random_matrix<TypeParam>(33, 300, 1), b = random_matrix<TypeParam>(300, 51, 2);
  Matrix<TypeParam> expected(33, 51), c(33, 51);
  gemm<TypeParam>(a.view(), b.view(), expected.view());
  for (const std::string_view level : cpu_levels()) {
    set_cpu_level(level);
    gemm<TypeParam>(a.view(), b.view(), c.view());
    // baseline rounds the products too: either sum is within 300^2 eps / 2 of the exact one.
    const double bound = level == "baseline" ? 300 * 300 * double{std::numeric_limits<TypeParam>::epsilon()} : 0;
    for (size_t i = 0; i < c.data.size(); ++i) ASSERT_NEAR(c.data[i], expected.data[i], bound) << level;
  }
  set_cpu_level(before);
}

}  // namespace
}  // namespace spinor::gemm_test
