#include "spinor/calibration/samples.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "spinor/base/error.h"

namespace spinor::calibration::samples_test {
namespace {

std::vector<int32_t> text(int64_t tokens) {
  std::vector<int32_t> result(static_cast<size_t>(tokens));
  std::iota(result.begin(), result.end(), 0);
  return result;
}

TEST(Samples, AreDifferentWindowsOfTheText) {
  const Samples samples = draw_samples(text(100), {.samples = 5, .context = 10});
  EXPECT_EQ(samples.count, 5);
  ASSERT_EQ(samples.tokens.size(), 50u);
  std::set<int32_t> begins;
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(samples.tokens[10 * i] % 10, 0);
    EXPECT_EQ(samples.tokens[10 * i + 9], samples.tokens[10 * i] + 9);
    begins.insert(samples.tokens[10 * i]);
  }
  EXPECT_EQ(begins.size(), 5u);
}

TEST(Samples, DependOnTheSeedAlone) {
  const auto drawn = [](uint64_t seed) {
    return draw_samples(text(1000), {.samples = 8, .context = 10, .seed = seed}).tokens;
  };
  EXPECT_EQ(drawn(1), drawn(1));
  EXPECT_NE(drawn(1), drawn(2));
}

TEST(Samples, AreFewerWhereTheTextIsShort) {
  EXPECT_EQ(draw_samples(text(25), {.samples = 8, .context = 10}).count, 2);
}

TEST(Samples, BeginWithBos) {
  const Samples samples = draw_samples(text(20), {.samples = 2, .context = 11, .bos = 77});
  EXPECT_EQ(samples.tokens[0], 77);
  EXPECT_EQ(samples.tokens[11], 77);
  EXPECT_EQ(samples.tokens.size(), 22u);
}

TEST(Samples, OfATextThatFillsNoneAreAnError) {
  EXPECT_THROW(draw_samples(text(9), {.samples = 1, .context = 10}), Error);
  EXPECT_THROW(draw_samples({}, {}), Error);
  EXPECT_THROW(draw_samples(text(9), {.samples = 0, .context = 3}), Error);
  EXPECT_THROW(draw_samples(text(9), {.samples = 1, .context = 1, .bos = 1}), Error);
}

}  // namespace
}  // namespace spinor::calibration::samples_test
