#include "spinor/learning/channel_mass.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "spinor/transform/apply.h"
#include "spinor/transform/spinquant.h"
#include "tests/golden/golden.h"

namespace spinor::learning::channel_mass_test {
namespace {

TEST(ChannelMass, BlocksOfABalancedOrderAreAlike) {
  std::vector<double> mass;
  for (int i = 0; i < 64; ++i) mass.push_back(std::exp2(-i % 16) + i * 1e-3);
  const std::vector<int64_t> order = balanced_order(mass, 16);
  std::vector<int64_t> sorted = order;
  std::ranges::sort(sorted);
  for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(sorted[static_cast<size_t>(i)], i);
  std::vector<double> sums(4);
  for (size_t i = 0; i < 64; ++i) sums[i / 16] += mass[static_cast<size_t>(order[i])];
  const auto [least, most] = std::ranges::minmax(sums);
  EXPECT_LT(most - least, 0.05 * most);  // as they stand the first has a half of all
  EXPECT_EQ(balanced_order(std::vector<double>{1, 4, 3, 2}, 2), (std::vector<int64_t>{1, 0, 2, 3}));
}

TEST(ChannelMass, IsTheMeanOfTokensThatCountAlikeAndTheFirstMore) {
  at::manual_seed(1);
  HiddenChannels channels{.name = "down"};
  ChannelMass mass({{channels, 4}});
  const int64_t tokens = 20;
  const at::Tensor x = at::randn({1, tokens, 8}) * at::randn({1, tokens, 1}).exp();
  runtime::Linear down, other;
  down.name = "down";
  other.name = "up";
  mass.add(down, x, tokens);
  mass.add(other, x, tokens);
  const at::Tensor u = x[0].to(at::kDouble), weights = u.square().mean(1).reciprocal();
  weights[0].mul_(64);
  const at::Tensor expected = (weights.unsqueeze(1) * u.abs()).sum(0) / weights.sum();
  const auto found = mass.mass();
  ASSERT_EQ(found.size(), 1u);
  for (int64_t i = 0; i < 8; ++i)  // products are float32
    EXPECT_NEAR(found.at("down")[static_cast<size_t>(i)], expected[i].item<double>(), 1e-5);
}

TEST(ChannelMass, ChannelsAreThoseBeforeRotationsOfBlocks) {
  const Model model = golden::model("transforms/llama");
  const auto blocks = [&](std::optional<int64_t> size) {
    SpinQuantOptions spin{.rotations = {Spin::R4}, .transform_type = "random-hadamard"};
    spin.transform_block_size = size;
    RewritePlan plan(model);
    apply(spinquant(model, spin), model, plan);
    return blocked_channels(plan);
  };
  EXPECT_TRUE(blocks({}).empty());
  const std::vector<BlockedChannels> found = blocks(4);
  ASSERT_EQ(std::ssize(found), model.num_layers());
  EXPECT_EQ(found[0].block, 4);
  EXPECT_EQ(found[0].channels.name, "model.layers.0.mlp.down_proj");
}

}  // namespace
}  // namespace spinor::learning::channel_mass_test
