#include "spinor/linalg/fwht.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "spinor/linalg/cpu.h"

namespace spinor::fwht_test {
namespace {

// Every test runs at every level of the machine, in both types.
class Fwht : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, Fwht, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

// Rows longer than needed: what lies between them must not change.
template <typename T>
struct Padded {
  int64_t rows, cols, stride;
  std::vector<T> data;

  Padded(int64_t r, int64_t c, int64_t padding = 3) : rows(r), cols(c), stride(c + padding) {
    std::mt19937 engine(static_cast<unsigned>(r * 1000 + c));
    std::normal_distribution<T> draw;
    data.resize(static_cast<size_t>(rows * stride));
    for (T& x : data) x = draw(engine);
  }
  MatrixView<T> view() { return {data.data(), rows, cols, stride}; }
};

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// The definition: S[i][j] = (-1)^popcount(i & j).
double sylvester(int64_t i, int64_t j) {
  return std::popcount(static_cast<uint64_t>(i & j)) % 2 == 0 ? 1 : -1;
}

// An error of log2(n) additions, each with half an ulp of at most the sum of |x|.
template <typename T>
double bound(int64_t n, double sum) {
  return (std::bit_width(static_cast<uint64_t>(n)) + 1) * std::numeric_limits<T>::epsilon() * sum;
}

template <typename T>
void rows_follow_the_definition(int64_t n) {
  Padded<T> x(3, n);
  const auto before = x.data;
  fwht_rows(x.view(), T(0.25));
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* row = before.data() + r * x.stride;
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += std::abs(row[i]);
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += row[i] * sylvester(i, j);
      ASSERT_NEAR(x.view()(r, j), 0.25 * sum, 0.25 * bound<T>(n, total)) << n << ": " << r << "," << j;
    }
  }
}

TEST_P(Fwht, RowsFollowTheDefinition) {
  for (int64_t n = 1; n <= 2048; n *= 2) {
    rows_follow_the_definition<float>(n);
    rows_follow_the_definition<double>(n);
  }
}

// The stages in the order that fwht.cpp promises, one after the other: all levels must give exactly these bits.
template <typename T>
void plain_stage(MatrixView<T> x, int64_t bit) {
  for (int64_t i = 0; i < x.rows; ++i) {
    if ((i & bit) != 0) continue;
    for (int64_t c = 0; c < x.cols; ++c) {
      const T a = x(i, c), b = x(i | bit, c);
      x(i, c) = a + b;
      x(i | bit, c) = a - b;
    }
  }
}

template <typename T>
void scale_all(MatrixView<T> x, T scale) {
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t c = 0; c < x.cols; ++c) x(i, c) *= scale;
}

template <typename T>
void plain_columns(MatrixView<T> x, T scale) {
  for (int64_t bit = 1; bit < x.rows; bit *= 2) plain_stage(x, bit);
  scale_all(x, scale);
}

template <typename T>
void plain_rows(MatrixView<T> x, T scale) {
  constexpr int64_t block = 16 / sizeof(T);
  for (int64_t r = 0; r < x.rows; ++r) {
    const MatrixView<T> row(x.row(r), x.cols, 1);
    for (int64_t bit = block; bit < std::min(x.cols, 4 * block); bit *= 2) plain_stage(row, bit);
    for (int64_t bit = 1; bit < std::min(x.cols, block); bit *= 2) plain_stage(row, bit);
    for (int64_t bit = 4 * block; bit < x.cols; bit *= 2) plain_stage(row, bit);
    scale_all(row, scale);
  }
}

template <typename T>
void rows_are_exact(int64_t rows, int64_t n, int64_t padding) {
  Padded<T> x(rows, n, padding), plain(x);
  fwht_rows(x.view(), T(0.3));
  plain_rows(plain.view(), T(0.3));
  EXPECT_TRUE(same_bits(x.data, plain.data)) << rows << " x " << n << " + " << padding;
}

TEST_P(Fwht, RowsOfEveryLengthAreTheSameBitsAtEveryLevel) {
  for (int64_t n = 1; n <= 1 << 16; n *= 2) {
    for (const int64_t rows : {1, 2, 15, 17}) {
      if (rows * n > 1 << 17) continue;
      rows_are_exact<float>(rows, n, 3);
      rows_are_exact<double>(rows, n, 0);
    }
  }
  rows_are_exact<float>(1, 1 << 20, 0);
  rows_are_exact<double>(1, 1 << 20, 0);
}

template <typename T>
void columns_are_exact(int64_t n, int64_t cols, int64_t padding) {
  Padded<T> x(n, cols, padding), plain(x);
  fwht_columns(x.view(), T(0.3));
  plain_columns(plain.view(), T(0.3));
  EXPECT_TRUE(same_bits(x.data, plain.data)) << n << " x " << cols << " + " << padding;
}

TEST_P(Fwht, ColumnsOfEveryLengthAndWidthAreTheSameBitsAtEveryLevel) {
  for (int64_t n = 1; n <= 1 << 14; n *= 2) {
    for (const int64_t cols : {1, 7, 16, 33, 77}) {
      if (n * cols > 1 << 18) continue;
      columns_are_exact<float>(n, cols, 3);
      columns_are_exact<double>(n, cols, 0);
    }
  }
  columns_are_exact<float>(1 << 18, 1, 0);
}

TEST_P(Fwht, ColumnsFollowTheDefinition) {
  Padded<double> x(64, 5);
  const auto before = x;
  fwht_columns(x.view(), 1.0);
  for (int64_t i = 0; i < 64; ++i) {
    for (int64_t c = 0; c < 5; ++c) {
      double sum = 0;
      for (int64_t k = 0; k < 64; ++k) sum += sylvester(i, k) * before.data[static_cast<size_t>(k * x.stride + c)];
      EXPECT_NEAR(x.view()(i, c), sum, bound<double>(64, 64 * 4));
    }
  }
}

// Small integers add without rounding, so a transform done twice gives n x exactly, and it is exactly linear.
template <typename T>
void integers_are_exact(int64_t n) {
  std::vector<T> x(static_cast<size_t>(n)), y(x), sum(x);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<T>(static_cast<int>(i * 7 % 13) - 6);
    y[i] = static_cast<T>(static_cast<int>(i * 5 % 11) - 5);
    sum[i] = x[i] + 2 * y[i];
  }
  const auto before = x;
  for (auto* v : {&x, &y, &sum}) fwht_rows(MatrixView<T>(v->data(), 1, n), T(1));
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(sum[i], x[i] + 2 * y[i]) << n;
  fwht_rows(MatrixView<T>(x.data(), 1, n), T(1) / static_cast<T>(n));
  EXPECT_EQ(x, before) << n;
}

TEST_P(Fwht, IsLinearAndItsOwnInverse) {
  for (int64_t n = 1; n <= 1 << 14; n *= 2) {
    integers_are_exact<float>(n);
    integers_are_exact<double>(n);
  }
}

TEST_P(Fwht, OfNothingDoesNothing) {
  for (const auto& [rows, cols] : {std::pair{0, 64}, {0, 4096}, {64, 0}, {0, 0}}) {
    Padded<float> x(rows, cols);
    const auto before = x.data;
    fwht_rows(x.view(), 2.0f);
    fwht_columns(x.view(), 2.0f);
    EXPECT_TRUE(same_bits(x.data, before)) << rows << " x " << cols;
  }
}

TEST_P(Fwht, KeepsInfinityAndNanVisible) {
  for (const float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(4096, 1.0f);
    x[1234] = value;
    fwht_rows(MatrixView<float>(x.data(), 1, 4096), 1.0f);
    for (const float y : x) ASSERT_FALSE(std::isfinite(y));
  }
}

}  // namespace
}  // namespace spinor::fwht_test
