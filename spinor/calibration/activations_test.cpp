#include "spinor/calibration/activations.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/io/testing.h"

namespace spinor::calibration::activations_test {
namespace {

class ActivationsTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(ActivationsTest, KeepEverySample) {
  const testing::TemporaryDirectory directory;
  Activations activations(3, 5, 8, GetParam(), directory.path());
  std::vector<at::Tensor> expected;
  for (int64_t i = 0; i < 3; ++i) {
    expected.push_back(at::randn({1, 5, 8}));
    activations.store(i, expected.back());
  }
  activations.store(1, expected[1] = at::randn({1, 5, 8}));
  for (int64_t i = 0; i < 3; ++i) {
    at::Tensor x = activations.load(i);
    EXPECT_TRUE(at::equal(x, expected[static_cast<size_t>(i)]));
    x.zero_();  // the caller's
    EXPECT_TRUE(at::equal(activations.load(i), expected[static_cast<size_t>(i)]));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));  // also of a file: nothing is left behind
}

INSTANTIATE_TEST_SUITE_P(InMemoryAndInAFile, ActivationsTest, ::testing::Values(int64_t{1} << 20, 0));

}  // namespace
}  // namespace spinor::calibration::activations_test
