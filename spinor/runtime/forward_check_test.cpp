#include "spinor/runtime/forward_check.h"

#include <gtest/gtest.h>

#include <limits>

#include "spinor/plan/save.h"
#include "spinor/runtime/testing.h"
#include "spinor/transform/stored_online.h"

namespace spinor::runtime::forward_check_test {
namespace {

constexpr double kBound = 64 * 0x1p-24;  // as the command: of weights in float32

class CheckForward : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Model model_ = testing::make_model(directory_, {.layers = 4, .biases = true});
  const std::vector<int32_t> tokens_ = testing::tokens(32, 40);

  ForwardCheck check(const RewritePlan& output) const {
    return check_forward(RewritePlan(model_), output, tokens_, {.dtype = DType::F64});
  }
};

TEST_F(CheckForward, ARotationIsTheSameFunction) {
  const RewritePlan plan = testing::rotated(model_, testing::kAllSpins);
  save(plan, directory_ / "out");
  for (const RewritePlan& output : {plan, as_stored(Model::describe(Checkpoint::open(directory_ / "out")))}) {
    const ForwardCheck result = check(output);
    EXPECT_EQ(result.layers.size(), 4u);
    EXPECT_EQ(result.first_departure(kBound), std::nullopt);
    EXPECT_LE(result.logits_rms, kBound);
    EXPECT_LE(result.logits_rms, result.logits_max);
    EXPECT_EQ(result.top1_agreement, 1);
    EXPECT_NEAR(result.perplexity, result.source_perplexity, kBound * result.source_perplexity);
  }
}

TEST_F(CheckForward, TheFirstDamagedLayerIsNamed) {
  for (const int64_t layer : {0, 2, 3}) {
    RewritePlan plan = testing::rotated(model_, testing::kAllSpins);
    const std::string name = fmt::format("model.layers.{}.", layer);
    plan.edit_weight(*model_.find(name + "mlp.up_proj"), Fill{0.01});
    plan.edit_weight(*model_.find("model.layers.3.mlp.up_proj"), Fill{0.01});
    EXPECT_EQ(check(plan).first_departure(kBound), layer);
  }
}

TEST_F(CheckForward, ADamagedHeadLeavesTheLayers) {
  RewritePlan plan = testing::rotated(model_, {Spin::R1});
  plan.edit_weight(*model_.find("lm_head"), Fill{0.5});
  const ForwardCheck result = check(plan);
  EXPECT_EQ(result.first_departure(kBound), std::nullopt);
  EXPECT_GT(result.logits_rms, 0.1);
  EXPECT_LT(result.top1_agreement, 0.5);
}

TEST_F(CheckForward, WhatIsNoNumberDeparts) {
  ForwardCheck check{.layers = {0, std::numeric_limits<double>::quiet_NaN(), 1}};
  EXPECT_EQ(check.first_departure(0.5), 1);
  check.layers = {};
  EXPECT_EQ(check.first_departure(0.5), std::nullopt);
}

TEST_F(CheckForward, OfALongTextTheBeginningIsTaken) {
  std::vector<int32_t> text = testing::tokens(300, 40);
  const RewritePlan source(model_), output = testing::rotated(model_, {Spin::R1});
  const auto run = [&] { return check_forward(source, output, text, {.dtype = DType::F64, .threads = 1}); };
  const ForwardCheck all = run();
  text.resize(256);
  EXPECT_EQ(run().perplexity, all.perplexity);
}

TEST_F(CheckForward, RefusesModelsThatCannotBeTheSame) {
  const testing::TemporaryDirectory other;
  const RewritePlan source(model_), output(testing::make_model(other, {.layers = 3, .vocabulary = 48}));
  EXPECT_EQ(testing::message_of([&] { check_forward(source, output, tokens_, {}); }, other.path()),
            "model: has 3 layers and 48 tokens, the source 4 and 40; compare a model with the one it was made from");
  EXPECT_EQ(testing::message_of([&] { check_forward(source, source, std::vector<int32_t>{1}, {}); }),
            "text: has fewer than two tokens");
}

}  // namespace
}  // namespace spinor::runtime::forward_check_test
