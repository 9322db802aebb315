#include "spinor/linalg/hadamard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "spinor/base/error.h"
#include "spinor/linalg/cpu.h"
#include "spinor/linalg/hadamard_bases.h"
#include "spinor/linalg/random.h"

namespace spinor::hadamard_test {
namespace {

uint64_t fnv1a(const std::vector<int8_t>& bytes) {
  uint64_t digest = 0xCBF29CE484222325;
  for (const int8_t byte : bytes) digest = (digest ^ static_cast<uint8_t>(byte)) * 0x100000001B3;
  return digest;
}

bool is_hadamard(const SignMatrix& h) {
  for (int64_t i = 0; i < h.order; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const int8_t *a = &h.signs[static_cast<size_t>(i * h.order)], *b = &h.signs[static_cast<size_t>(j * h.order)];
      if (std::inner_product(a, a + h.order, b, int64_t{0}) != (i == j ? h.order : 0)) return false;
    }
  }
  return true;
}

// Sums of up to n entries of +-1 and small integers are exact in float: products below are compared for equality.
template <typename T>
Matrix<T> small_integers(int64_t rows, int64_t cols) {
  Random random(static_cast<uint64_t>(rows * 1000 + cols));
  Matrix<T> x(rows, cols);
  for (T& value : x.data) value = static_cast<T>(static_cast<int>(random.uniform_double() * 17) - 8);
  return x;
}

template <typename T>
void expect_products(const Hadamard& h, int64_t count, bool transposed) {
  const int64_t n = h.order();
  const T scale = T(0.25);
  Matrix<T> wide = small_integers<T>(count, n + 3);  // a stride of its own
  Matrix<T> tall = small_integers<T>(n, count);
  Matrix<T> xh(count, n), hx(n, count);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const int sign = transposed ? h.sign(j, i) : h.sign(i, j);
      for (int64_t k = 0; k < count; ++k) {
        xh(k, j) += static_cast<T>(sign) * wide(k, i) * scale;
        hx(i, k) += static_cast<T>(sign) * tall(j, k) * scale;
      }
    }
  }
  h.rows(wide.view().block(0, 0, count, n), scale, transposed);
  h.columns(tall.view(), scale, transposed);
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(wide(k, i), xh(k, i)) << "row " << k << ", column " << i << " of order " << n;
      ASSERT_EQ(tall(i, k), hx(i, k)) << "row " << i << ", column " << k << " of order " << n;
    }
  }
}

TEST(Hadamard, TheTableIsThePeersBitForBitAndOrthogonal) {
  std::ifstream golden(SPINOR_SOURCE_DIR "/tests/golden/hadamard_digests.txt");
  std::string kind;
  int64_t order = 0;
  uint64_t digest = 0;
  int bases = 0;
  while (golden >> kind >> std::dec >> order >> std::hex >> digest) {
    if (kind != "base") continue;
    const std::optional<SignMatrix> base = peer_base(order);
    ASSERT_TRUE(base) << order;
    EXPECT_EQ(fnv1a(base->signs), digest) << order;
    EXPECT_TRUE(is_hadamard(*base)) << order;
    ++bases;
  }
  EXPECT_EQ(bases, 66);
}

TEST(Hadamard, EveryModelWidthHasTheSmallestBaseWeExpect) {
  const std::vector<std::pair<int64_t, std::vector<int64_t>>> widths = {
      {1, {64, 128, 2048, 4096, 8192, 16384}},
      {12, {96, 192, 768, 1536, 3072, 6144, 12288}},
      {20, {80, 2560, 5120, 10240}},
      {28, {112, 896, 3584, 7168, 14336, 28672}},
      {36, {576, 1152, 2304, 4608, 9216, 18432, 36864}},
      {44, {1408, 5632}},
      {60, {960, 3840, 15360}},
      {68, {17408}},
      {76, {4864, 9728}},
      {84, {5376, 21504}},
      {100, {25600}},
      {108, {6912, 13824, 27648}},
      {140, {8960, 17920}},
      {148, {18944}},
      {172, {11008}},  // 344 with Paley alone
      {180, {2880}},
      {284, {4544}},
      {684, {10944}},
      {924, {29568}},
      {5460, {10920}},
  };
  for (const auto& [base, sizes] : widths)
    for (const int64_t n : sizes) EXPECT_EQ(Hadamard::smallest_base(n).base(), base) << n;
}

TEST(Hadamard, OfOrderTakesThePeersLargestBase) {
  const std::vector<std::pair<int64_t, int64_t>> bases = {
      {4096, 256},  {576, 144},   {768, 192},  {1536, 192}, {896, 224},  {3584, 224},  {14336, 224}, {2560, 160},
      {5120, 160},  {11008, 172}, {4864, 152}, {9728, 152}, {8960, 140}, {18944, 148}, {6912, 216},  {5632, 176},
      {17408, 136}, {1600, 200},  {1152, 144}, {64, 64},    {32, 32},    {28, 28},     {1, 1},       {2, 2}};
  for (const auto& [n, base] : bases) {
    EXPECT_EQ(Hadamard::of_order(n).base(), base) << n;
    EXPECT_TRUE(Hadamard::of_order(n).from_peer_table()) << n;
  }
  EXPECT_FALSE(Hadamard::of_order(10944).from_peer_table());  // the peer refuses it; Paley has 684
  EXPECT_FALSE(Hadamard::smallest_base(3584).from_peer_table());
  EXPECT_TRUE(Hadamard::sylvester(4096).from_peer_table());
  EXPECT_FALSE(Hadamard::sylvester(32).from_peer_table());
}

TEST(Hadamard, SylvesterSignsCountCommonBits) {
  const Hadamard h = Hadamard::sylvester(64), peer = Hadamard::of_order(64), paley = Hadamard::of_order(32);
  int different = 0;
  for (int64_t i = 0; i < 64; ++i) {
    for (int64_t j = 0; j < 64; ++j) {
      EXPECT_EQ(h.sign(i, j), __builtin_popcountll(static_cast<uint64_t>(i & j)) % 2 ? -1 : 1);
      EXPECT_EQ(h.sign(i, j), peer.sign(i, j));
      different += i < 32 && j < 32 && h.sign(i, j) != paley.sign(i, j);
    }
  }
  EXPECT_GT(different, 0);
}

TEST(Hadamard, ProductsAreTheMatrixs) {
  for (const std::string_view level : cpu_levels()) {
    set_cpu_level(level);
    // Bases with and without Sylvester factors, tiles of one and of many pieces, one and several chunks of tables.
    for (const int64_t n : {1, 2, 12, 20, 32, 40, 56, 144, 172, 192, 208, 256, 448, 576, 740, 896, 1536, 1792}) {
      const Hadamard h = Hadamard::of_order(n);
      for (const bool transposed : {false, true}) {
        expect_products<double>(h, n < 300 ? 19 : 2, transposed);
        expect_products<float>(h, n < 300 ? 35 : 3, transposed);
      }
    }
    expect_products<double>(Hadamard::smallest_base(1344), 3, false);  // 84 * 16
    expect_products<float>(Hadamard::smallest_base(896), 3, true);
    expect_products<float>(Hadamard::smallest_base(568), 2, true);  // 284 = Paley I of 283
  }
  set_cpu_level(cpu_levels().back());
}

template <typename T>
Matrix<T> normals(int64_t rows, int64_t cols) {
  Random random(5);
  Matrix<T> x(rows, cols);
  for (T& value : x.data) value = static_cast<T>(random.normal());
  return x;
}

TEST(Hadamard, ARowsBitsDoNotDependOnItsNeighbours) {
  for (const int64_t n : {80, 144, 576, 3584}) {
    const Hadamard h = Hadamard::of_order(n);
    Matrix<float> all = normals<float>(37, n);
    Matrix<float> parts = all;
    h.rows(all.view(), 0.5f, true);
    for (const auto& [from, to] : {std::pair<int64_t, int64_t>{0, 1}, {1, 9}, {9, 37}})
      h.rows(parts.view().block(from, 0, to - from, n), 0.5f, true);
    EXPECT_EQ(all.data, parts.data) << n;
  }
}

TEST(Hadamard, AColumnsBitsDoNotDependOnItsNeighbours) {
  for (const int64_t n : {80, 144, 576, 3584}) {
    const Hadamard h = Hadamard::of_order(n);
    Matrix<double> all = normals<double>(n, 45);
    Matrix<double> parts = all;
    h.columns(all.view(), 0.5, false);
    for (const auto& [from, to] : {std::pair<int64_t, int64_t>{0, 1}, {1, 20}, {20, 45}})
      h.columns(parts.view().block(0, from, n, to - from), 0.5, false);
    EXPECT_EQ(all.data, parts.data) << n;
  }
}

TEST(Hadamard, CpuLevelsAgreeToRounding) {
  const Hadamard h = Hadamard::of_order(3584);
  std::vector<Matrix<double>> results;
  for (const std::string_view level : cpu_levels()) {
    set_cpu_level(level);
    results.push_back(normals<double>(2, 3584));
    h.rows(results.back().view(), 1 / std::sqrt(3584.0), false);
  }
  set_cpu_level(cpu_levels().back());
  // Values have variance 1; 3584 additions in any order differ by far less than 1e-12.
  for (const Matrix<double>& result : results)
    for (size_t i = 0; i < result.data.size(); ++i) ASSERT_NEAR(result.data[i], results[0].data[i], 1e-12);
}

TEST(Hadamard, HadamardRowsIsOrthonormalAndKeepsRowNorms) {
  Matrix<double> x = normals<double>(3, 14336);
  const Matrix<double> before = x;
  hadamard_rows(x.view());
  const Hadamard h = Hadamard::smallest_base(14336);
  for (int64_t i = 0; i < 3; ++i) {
    double norm = 0, norm_before = 0, first = 0;
    for (int64_t j = 0; j < 14336; ++j) {
      norm += x(i, j) * x(i, j);
      norm_before += before(i, j) * before(i, j);
      first += before(i, j) * h.sign(j, 7) / std::sqrt(14336.0);
    }
    EXPECT_NEAR(norm, norm_before, 1e-8);  // 14336 squares of about 1, each with a few ulp
    EXPECT_NEAR(x(i, 7), first, 1e-10);
  }
}

std::string message(const auto& make) {
  try {
    make();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Hadamard, ImpossibleOrdersNameWhatWorks) {
  EXPECT_EQ(message([] { Hadamard::of_order(13696); }),
            "size 13696: no Hadamard matrix of order 13696; use transform_block_size: 128");
  EXPECT_EQ(message([] { Hadamard::smallest_base(13696); }),
            "size 13696: no Hadamard matrix of order 13696; use transform_block_size: 128");
  EXPECT_EQ(message([] { Hadamard::of_order(4290); }),
            "size 4290: no Hadamard matrix of order 4290; use transform_block_size: 2");
  EXPECT_EQ(message([] { Hadamard::of_order(101); }), "size 101: no Hadamard matrix of order 101");
  EXPECT_EQ(message([] { Hadamard::of_order(0); }), "size 0: no Hadamard matrix of order 0");
  EXPECT_EQ(message([] { Hadamard::of_order(-8); }), "size -8: no Hadamard matrix of order -8");
  EXPECT_EQ(message([] { Hadamard::sylvester(576); }),
            "size 576: Cannot construct deterministic hadamard of size != 2^n; use transform_type: random-hadamard, or "
            "transform_block_size: 64");
}

}  // namespace
}  // namespace spinor::hadamard_test
