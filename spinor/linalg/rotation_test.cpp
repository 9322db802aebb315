#include "spinor/linalg/rotation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <thread>

#include "spinor/base/error.h"
#include "spinor/linalg/random.h"

namespace spinor::rotation_test {
namespace {

template <typename T>
Matrix<T> uniforms(int64_t rows, int64_t cols) {
  Random random(11);
  Matrix<T> x(rows, cols);
  for (T& value : x.data) value = static_cast<T>(2 * random.uniform_double() - 1);
  return x;
}

Matrix<double> product(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> c(a.rows, b.cols);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t k = 0; k < a.cols; ++k)
      for (int64_t j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
  return c;
}

Matrix<double> block_diagonal(const Matrix<double>& r, int64_t blocks) {
  Matrix<double> d(r.rows * blocks, r.cols * blocks);
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t i = 0; i < r.rows; ++i)
      for (int64_t j = 0; j < r.cols; ++j) d(b * r.rows + i, b * r.cols + j) = r(i, j);
  return d;
}

template <typename T>
Matrix<double> widened(const Matrix<T>& x) {
  Matrix<double> wide(x.rows, x.cols);
  std::ranges::copy(x.data, wide.data.begin());
  return wide;
}

void expect_near(const Matrix<double>& a, const Matrix<double>& b, double tolerance) {
  ASSERT_EQ(a.data.size(), b.data.size());
  for (size_t i = 0; i < a.data.size(); ++i) ASSERT_NEAR(a.data[i], b.data[i], tolerance) << "element " << i;
}

// Both products with block-diagonal R, contiguous and strided, against the products written out.
template <typename T>
void expect_products(const Rotation& r, int64_t blocks, double tolerance) {
  const int64_t n = r.size(), side = n * blocks, other = 7;
  const Matrix<double> d = block_diagonal(r.matrix(), blocks);
  std::vector<T> scratch;

  Matrix<T> right = uniforms<T>(other, side), left = uniforms<T>(side, other), strided = uniforms<T>(other, side + 5);
  Matrix<double> strided_in(other, side), strided_out(other, side);
  for (int64_t i = 0; i < other; ++i)
    for (int64_t j = 0; j < side; ++j) strided_in(i, j) = strided(i, j);
  const double untouched = strided(0, side);
  const Matrix<double> xd = product(widened(right), d), dx = product(d, widened(left));

  r.multiply_right(right.view(), scratch);
  r.multiply_left(left.view(), scratch);
  r.multiply_right(strided.view().block(0, 0, other, side), scratch);
  for (int64_t i = 0; i < other; ++i)
    for (int64_t j = 0; j < side; ++j) strided_out(i, j) = strided(i, j);
  expect_near(widened(right), xd, tolerance);
  expect_near(widened(left), dx, tolerance);
  expect_near(strided_out, product(strided_in, d), tolerance);
  EXPECT_EQ(strided(0, side), untouched);
}

Rotation random_hadamard(int64_t n, bool permuted) {
  Random random;
  std::vector<int8_t> signs = random.signs(n);
  return Rotation::hadamard(Hadamard::of_order(n), signs, permuted ? random.permutation(n) : std::vector<int64_t>());
}

std::vector<Rotation> rotations() {
  Matrix<double> small_dense = uniforms<double>(24, 24);
  for (int64_t i = 0; i < 24; ++i) small_dense(i, i) += 6;  // diagonally dominant: well conditioned
  return {Rotation::hadamard(Hadamard::sylvester(64)),
          Rotation::hadamard(Hadamard::of_order(28)),
          random_hadamard(64, false),
          random_hadamard(80, false),
          random_hadamard(144, true),
          random_hadamard(192, false),
          random_hadamard(24, true),
          Rotation::reordering(Random(2).permutation(36)),
          Rotation::dense(random_hadamard(24, false).matrix(), true),
          Rotation::dense(small_dense, false)};
}

TEST(Rotation, ProductsAreThoseOfTheMatrix) {
  for (const Rotation& r : rotations()) {
    for (const Rotation& variant : {r, r.transposed(), r.inverse(), r.inverse().transposed()}) {
      // Sums of at most 192 products below 7 in size: 1e-12 and 1e-3 are far above their rounding, far below a mistake.
      expect_products<double>(variant, 1, 1e-12);
      expect_products<double>(variant, 3, 1e-12);
      expect_products<float>(variant, 2, 1e-3);
    }
  }
}

TEST(Rotation, OrthogonalOnesAreOrthogonalAndEveryInverseUndoes) {
  for (const Rotation& r : rotations()) {
    const int64_t n = r.size();
    Matrix<double> identity(n, n);
    for (int64_t i = 0; i < n; ++i) identity(i, i) = 1;
    if (r.orthogonal()) expect_near(product(r.matrix(), r.transposed().matrix()), identity, 1e-13);
    expect_near(product(r.matrix(), r.inverse().matrix()), identity, 1e-12);
    expect_near(r.inverse().inverse().matrix(), r.matrix(), 0);

    Matrix<double> x = uniforms<double>(5, 2 * n), y = uniforms<double>(2 * n, 5);
    std::vector<double> scratch;
    const Matrix<double> x_before = x, y_before = y;
    r.multiply_right(x.view(), scratch);
    r.inverse().multiply_right(x.view(), scratch);
    r.multiply_left(y.view(), scratch);
    r.inverse().multiply_left(y.view(), scratch);
    expect_near(x, x_before, 1e-12);
    expect_near(y, y_before, 1e-12);
  }
}

TEST(Rotation, RandomHadamardIsThePeersBitForBit) {
  std::ifstream golden(SPINOR_SOURCE_DIR "/tests/golden/hadamard_digests.txt");
  std::string kind;
  int64_t order = 0;
  uint64_t expected = 0;
  int checked = 0;
  while (golden >> kind >> std::dec >> order >> std::hex >> expected) {
    if (kind != "random-hadamard") continue;
    uint64_t digest = 0xCBF29CE484222325;  // FNV-1a over the signs as int8
    for (const double value : random_hadamard(order, false).matrix().data)
      digest = (digest ^ static_cast<uint8_t>(value > 0 ? 1 : -1)) * 0x100000001B3;
    EXPECT_EQ(digest, expected) << order;
    ++checked;
  }
  EXPECT_EQ(checked, 6);
}

TEST(Rotation, ThePermutationActsOnRowsAndColumns) {
  const std::vector<int64_t> p = Random(1).permutation(24);
  const Matrix<double> plain = Rotation::hadamard(Hadamard::of_order(24)).matrix();
  const Matrix<double> permuted = Rotation::hadamard(Hadamard::of_order(24), {}, p).matrix();
  for (size_t i = 0; i < 24; ++i)
    for (size_t j = 0; j < 24; ++j)
      EXPECT_EQ(permuted(static_cast<int64_t>(i), static_cast<int64_t>(j)), plain(p[i], p[j]));
}

TEST(Rotation, AReorderingMovesEntriesAsTheyAre) {
  const std::vector<int64_t> order = {2, 0, 3, 1};
  const Rotation r = Rotation::reordering(order);
  Matrix<float> x(1, 4);
  x.data = {0.1F, 0.2F, 0.3F, 0.4F};
  std::vector<float> scratch;
  r.multiply_right(x.view(), scratch);
  EXPECT_EQ(x.data, (std::vector<float>{0.3F, 0.1F, 0.4F, 0.2F}));
  EXPECT_TRUE(r.orthogonal() && r.is_reordering() && !r.is_dense());
  EXPECT_THROW(Rotation::reordering({0, 1, 1}), Error);
  EXPECT_THROW(Rotation::reordering({1, 2}), Error);
  EXPECT_THROW(r.stored(0, 0), Error);
}

TEST(Rotation, FactorsMakeTheMatrix) {
  for (const int64_t n : {64, 144, 24}) {
    const Rotation r = random_hadamard(n, false);
    const auto [signs, base] = r.factors();
    const int64_t step = n / base.rows;
    const Hadamard sylvester = Hadamard::sylvester(step);
    const Matrix<double> m = r.matrix();
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        EXPECT_NEAR(m(i, j) * std::sqrt(static_cast<double>(n)),
                    signs[static_cast<size_t>(i)] * base(j / step, i / step) * sylvester.sign(j % step, i % step),
                    1e-12);
    EXPECT_TRUE(r.transposed().is_transposed());
  }
  EXPECT_THROW(Rotation::dense(Matrix<double>(2, 2), true).factors(), Error);
}

TEST(Rotation, ThreadsShareOneMatrix) {
  const Rotation dense = rotations().back(), signs = random_hadamard(192, true);
  Matrix<float> expected = uniforms<float>(9, 192);
  std::vector<float> scratch;
  Rotation(dense).inverse().multiply_right(expected.view(), scratch);
  signs.multiply_right(expected.view(), scratch);

  std::vector<Matrix<float>> results(4, uniforms<float>(9, 192));
  const Rotation fresh = rotations().back();  // its inverse and float copy are made by whichever thread is first
  std::vector<std::thread> threads;
  for (Matrix<float>& x : results) {
    threads.emplace_back([&x, &fresh, &signs] {
      std::vector<float> own;
      fresh.inverse().multiply_right(x.view(), own);
      signs.multiply_right(x.view(), own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Matrix<float>& x : results) EXPECT_EQ(x.data, expected.data);
}

TEST(Rotation, ReportsWhatItHolds) {
  EXPECT_EQ(Rotation::dense(uniforms<double>(24, 24), true).bytes(), 24 * 24 * 8);
  EXPECT_EQ(Rotation::dense(uniforms<double>(24, 24), false).bytes(), 2 * 24 * 24 * 8);
  EXPECT_LT(random_hadamard(4096, false).bytes(), 1 << 18);
  EXPECT_TRUE(Rotation::dense(uniforms<double>(24, 24), true).is_dense());
  EXPECT_FALSE(random_hadamard(24, false).is_dense());
}

TEST(Rotation, WrongSizesAndSingularMatricesAreRefused) {
  EXPECT_THROW(Rotation::hadamard(Hadamard::of_order(24), std::vector<int8_t>(23, 1)), Error);
  EXPECT_THROW(Rotation::hadamard(Hadamard::of_order(4), {}, {0, 1, 2}), Error);
  EXPECT_THROW(Rotation::hadamard(Hadamard::of_order(4), {}, {0, 1, 2, 2}), Error);
  EXPECT_THROW(Rotation::hadamard(Hadamard::of_order(4), {}, {1, 2, 3, 4}), Error);
  EXPECT_THROW(Rotation::dense(Matrix<double>(3, 4), false), Error);
  EXPECT_THROW(Rotation::dense(Matrix<double>(4, 4), false).inverse(), Error);
}

}  // namespace
}  // namespace spinor::rotation_test
