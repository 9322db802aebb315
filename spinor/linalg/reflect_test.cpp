#include "spinor/linalg/reflect.h"

#include <gtest/gtest.h>

#include <vector>

#include "spinor/linalg/cpu.h"
#include "spinor/linalg/random.h"

namespace spinor::reflect_test {
namespace {

template <typename T>
Matrix<T> normals(int64_t rows, int64_t cols, uint64_t seed) {
  Random random(seed);
  Matrix<T> x(rows, cols);
  for (T& value : x.data) value = static_cast<T>(random.normal());
  return x;
}

// x (rows, n), or its transpose, whose columns are reflected; written out in double.
Matrix<double> expected_rows(const Matrix<double>& x, const std::vector<double>& v, double factor) {
  Matrix<double> y = x;
  for (int64_t i = 0; i < x.rows; ++i) {
    double dot = 0;
    for (int64_t j = 0; j < x.cols; ++j) dot += x(i, j) * v[static_cast<size_t>(j)];
    for (int64_t j = 0; j < x.cols; ++j) y(i, j) -= factor * dot * v[static_cast<size_t>(j)];
  }
  return y;
}

// The rows of x and the columns of its transpose inside something wider, which stays as it is.
template <typename T>
void expect_reflections(int64_t n, double tolerance) {
  constexpr int64_t kRows = 5, kBeyond = 3;
  const Matrix<T> v = normals<T>(1, n, 1), x = normals<T>(kRows, n + kBeyond, 2);
  Matrix<double> wide(kRows, n);
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < n; ++j) wide(i, j) = x(i, j);
  const Matrix<double> expected = expected_rows(wide, {v.data.begin(), v.data.end()}, 0.25);
  Matrix<T> rows = x, columns(n, kRows + kBeyond);
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < n; ++j) columns(j, i) = x(i, j);
  std::vector<T> sums(kRows);
  reflect_rows(rows.view().block(0, 0, kRows, n), v.data.data(), T(0.25));
  reflect_columns(columns.view().block(0, 0, n, kRows), v.data.data(), T(0.25), sums.data());
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      ASSERT_NEAR(rows(i, j), expected(i, j), tolerance) << n;
      ASSERT_NEAR(columns(j, i), expected(i, j), tolerance) << n;
    }
    for (int64_t j = n; j < n + kBeyond; ++j) ASSERT_EQ(rows(i, j), x(i, j));
  }
}

TEST(Reflect, IsWhatItSaysAtEveryLength) {
  // Sums of at most 200 products of normals, times a normal: below 100, with 200 roundings at worst.
  for (const int64_t n : {0, 1, 7, 31, 32, 33, 63, 64, 65, 100, 200}) {
    expect_reflections<double>(n, 1e-11);
    expect_reflections<float>(n, 1e-2);
  }
}

template <typename T>
void expect_the_same_bits() {
  for (const int64_t n : {5, 64, 150, 1000}) {
    const Matrix<T> v = normals<T>(1, n, 1);
    std::vector<Matrix<T>> rows, columns;
    for (const std::string_view level : cpu_levels()) {
      set_cpu_level(level);
      std::vector<T> sums(19);
      rows.push_back(normals<T>(3, n, 2));
      reflect_rows(rows.back().view(), v.data.data(), T(0.3));
      columns.push_back(normals<T>(n, 19, 2));
      reflect_columns(columns.back().view(), v.data.data(), T(0.3), sums.data());
    }
    set_cpu_level(cpu_levels().back());
    for (size_t level = 1; level < rows.size(); ++level) {
      EXPECT_EQ(rows[level].data, rows[0].data) << n;
      EXPECT_EQ(columns[level].data, columns[0].data) << n;
    }
  }
}

TEST(Reflect, EveryLevelGivesTheSameBits) {
  expect_the_same_bits<float>();
  expect_the_same_bits<double>();
}

}  // namespace
}  // namespace spinor::reflect_test
