#include "spinor/linalg/scale.h"

#include <gtest/gtest.h>

#include <vector>

#include "spinor/linalg/cpu.h"
#include "spinor/linalg/random.h"

namespace spinor::scale_test {
namespace {

constexpr int64_t kRoom = 40;  // more than two vectors of any level

template <typename T>
std::vector<T> normals(uint64_t seed) {
  Random random(seed);
  std::vector<T> x(kRoom);
  for (T& value : x) value = static_cast<T>(random.normal());
  return x;
}

// Every length, from an address no vector is aligned to; what lies beyond stays.
template <typename T, typename Work, typename Expected>
void expect_each(Work work, Expected expected) {
  for (const std::string_view level : cpu_levels()) {
    set_cpu_level(level);
    for (int64_t n = 0; n < kRoom; ++n) {
      const std::vector<T> before = normals<T>(1);
      std::vector<T> x = before;
      work(x.data() + 1, n);
      for (int64_t i = 0; i < kRoom; ++i) {
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(x[at], i >= 1 && i <= n ? expected(before[at], at - 1) : before[at]) << level << ", n = " << n;
      }
    }
  }
  set_cpu_level(cpu_levels().back());
}

template <typename T, typename S>
void expect_scaled() {
  const std::vector<S> by = normals<S>(2);
  expect_each<T>([&](T* x, int64_t n) { scale(x, by.data(), n); },
                 [&](T value, size_t i) { return value * static_cast<T>(by[i]); });
}

TEST(Scale, IsOneRoundedProductAnElementOnEveryLevel) {
  expect_scaled<float, float>();
  expect_scaled<double, double>();
  expect_scaled<double, float>();
}

TEST(Scale, NegatesOnEveryLevel) {
  expect_each<float>([](float* x, int64_t n) { negate(x, n); }, [](float value, size_t) { return -value; });
  expect_each<double>([](double* x, int64_t n) { negate(x, n); }, [](double value, size_t) { return -value; });
}

}  // namespace
}  // namespace spinor::scale_test
