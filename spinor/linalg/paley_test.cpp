#include "spinor/linalg/paley.h"

#include <gtest/gtest.h>

#include <numeric>

namespace spinor::paley_test {
namespace {

TEST(Paley, EveryOrderUpTo300IsOrthogonal) {
  int found = 0;
  for (int64_t n = 1; n <= 300; ++n) {
    const std::optional<SignMatrix> h = paley(n);
    ASSERT_EQ(h.has_value(), has_paley(n)) << n;
    if (!h) continue;
    ++found;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        int64_t dot = 0;
        for (int64_t k = 0; k < n; ++k) dot += (*h)(i, k) * (*h)(j, k);
        ASSERT_EQ(dot, i == j ? n : 0) << n;
      }
    }
  }
  EXPECT_EQ(found, 45);
}

TEST(Paley, LargeOrdersOverPrimesAndPrimePowers) {
  for (const int64_t n : {344, 684, 924, 2188, 5460}) {  // 7^3 + 1, 683 + 1, 2 (461 + 1), 3^7 + 1, 2 (2729 + 1)
    const std::optional<SignMatrix> h = paley(n);
    ASSERT_TRUE(h) << n;
    for (int64_t i = 0; i < n; i += 97) {
      for (int64_t j = 0; j < n; j += 13) {
        const int8_t *a = &h->signs[static_cast<size_t>(i * n)], *b = &h->signs[static_cast<size_t>(j * n)];
        ASSERT_EQ(std::inner_product(a, a + n, b, int64_t{0}), i == j ? n : 0) << n;
      }
    }
  }
}

TEST(Paley, OrdersWithoutAPrimePowerAreRefused) {
  for (const int64_t n : {-4, 0, 1, 2, 6, 92, 116, 156, 172, 188, 236, 428, 856, 1712, 3424, 6848, 13696})
    EXPECT_FALSE(has_paley(n)) << n;
}

TEST(Paley, HalfOfTheNonzeroElementsAreSquares) {
  for (const int64_t q : {3, 5, 7, 9, 13, 25, 27, 49, 81, 121, 125, 343, 2187}) {
    const std::vector<int8_t> chi = quadratic_character(q);
    ASSERT_EQ(std::ssize(chi), q);
    EXPECT_EQ(chi[0], 0);
    EXPECT_EQ(chi[1], 1);
    EXPECT_EQ(std::accumulate(chi.begin(), chi.end(), 0), 0) << q;
  }
  EXPECT_EQ(quadratic_character(7), (std::vector<int8_t>{0, 1, 1, -1, 1, -1, -1}));
  for (const int64_t q : {-3, 0, 1, 2, 8, 15, 21, 100}) EXPECT_TRUE(quadratic_character(q).empty()) << q;
}

}  // namespace
}  // namespace spinor::paley_test
