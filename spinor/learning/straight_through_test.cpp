#include "spinor/learning/straight_through.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/learning/testing.h"
#include "spinor/runtime/stage.h"

namespace spinor::learning::straight_through_test {
namespace {

constexpr int64_t kRows = 6, kSize = 64, kGroup = 16;

struct Case {
  const char* name;
  QuantizationArgs args;
  int64_t group;
};

std::vector<Case> cases() {
  QuantizationArgs groups = ActivationQuantizer::token_args(4, false);
  groups.strategy = QuantizationStrategy::group;
  groups.group_size = kGroup;
  return {{"asymmetric", ActivationQuantizer::token_args(4, false), kSize},
          {"symmetric", ActivationQuantizer::token_args(3, true), kSize},
          {"groups", groups, kGroup}};
}

at::Tensor quantized(const at::Tensor& x, const QuantizationArgs& args) {
  at::Tensor y = x.detach().clone();
  runtime::apply({{}, ActivationQuantizer(args)}, y);
  return y;
}

at::Tensor ranges(const at::Tensor& x, const Case& c) {
  const at::Tensor groups = x.reshape({-1, c.group});
  if (c.args.symmetric) return groups.abs().amax(1, true);
  return groups.amax(1, true).clamp_min(0) - groups.amin(1, true).clamp_max(0);
}

TEST(StraightThrough, GivesWhatTheQuantizerGives) {
  for (const Case& c : cases())
    for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
      const at::Tensor x = testing::heavy_rows(kRows, kSize).to(type), expected = quantized(x, c.args);
      EXPECT_TRUE(straight_through(x, ActivationQuantizer(c.args), c.args).equal(expected)) << c.name;
      const at::Tensor leaf = x.clone().requires_grad_(true);
      // The error is taken from a value, and put back.
      const double bound = type == at::kFloat ? 1e-6 : 1e-14;
      EXPECT_LE(testing::distance(straight_through(leaf, ActivationQuantizer(c.args), c.args).detach(), expected),
                bound)
          << c.name;
    }
}

// The errors of codes are constant in units of the range, which the extremes move.
TEST(StraightThrough, HasTheGradientOfItsSurrogate) {
  constexpr double kStep = 1e-5;
  const at::Tensor x = testing::heavy_rows(kRows, kSize), weights = testing::heavy_rows(kRows, kSize, 2);
  for (const Case& c : cases()) {
    const at::Tensor errors = (quantized(x, c.args) - x).reshape({-1, c.group}) / ranges(x, c);
    const auto value = [&](const at::Tensor& moved) {
      const at::Tensor made = moved.reshape({-1, c.group}) + errors * ranges(moved, c);
      return (made.reshape(x.sizes()) * weights).sum().item<double>();
    };
    at::Tensor expected = at::empty_like(x);
    for (int64_t i = 0; i < x.numel(); ++i) {
      at::Tensor up = x.clone(), down = x.clone();
      up.view(-1)[i] += kStep;
      down.view(-1)[i] -= kStep;
      expected.view(-1)[i] = (value(up) - value(down)) / (2 * kStep);
    }
    const at::Tensor leaf = x.clone().requires_grad_(true);
    (straight_through(leaf, ActivationQuantizer(c.args), c.args) * weights).sum().backward();
    // The surrogate is linear where extremes stay in place: rounding is all, 1e-16 of the value / step.
    EXPECT_LE(testing::distance(leaf.grad(), expected), 1e-8) << c.name;
  }
}

TEST(StraightThrough, TakesRowsOfZeros) {
  for (const Case& c : cases()) {
    const at::Tensor leaf = at::zeros({2, kSize}, at::kFloat).requires_grad_(true);
    const at::Tensor made = straight_through(leaf, ActivationQuantizer(c.args), c.args);
    made.sum().backward();
    EXPECT_EQ(made.abs().max().item<float>(), 0) << c.name;
    EXPECT_TRUE(leaf.grad().equal(at::ones({2, kSize}))) << c.name;
  }
}

}  // namespace
}  // namespace spinor::learning::straight_through_test
