#include "spinor/transform/given_scales.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "spinor/plan/testing.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/fold.h"
#include "spinor/transform/inverse.h"
#include "spinor/transform/rotate_model.h"

namespace spinor::given_scales_test {
namespace {

using testing::message_of;

constexpr const char* kUp = "model.layers.0.mlp.up_proj";
constexpr const char* kKey = "model.layers.0.self_attn.k_proj";
constexpr const char* kValue = "model.layers.1.self_attn.v_proj";

std::shared_ptr<const std::vector<double>> factors(std::vector<double> by) {
  return std::make_shared<const std::vector<double>>(std::move(by));
}

// Factors of 1, 2, 4, 8 by turns: entries of a pair of a head of 8 have the same.
std::shared_ptr<const std::vector<double>> powers(int64_t n) {
  std::vector<double> by;
  for (int64_t i = 0; i < n; ++i) by.push_back(static_cast<double>(1 << i % 4));
  return factors(std::move(by));
}

// Hidden size 32, four heads of 8 that read two, 48 inner rows, two layers, biases.
class GivenScalesOfLlama : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  const Model model_ = Model::describe(Checkpoint::open(testing::write_model(directory_ / "model", {.biases = true})));
  const GivenScales scales_ = {{kUp, powers(48)}, {kKey, powers(16)}, {kValue, powers(16)}};

  RewritePlan scaled() const {
    RewritePlan plan(model_);
    apply_scales(scales_, model_, plan);
    return plan;
  }
  static const Scale& scale_of(const RewritePlan& plan, const std::string& tensor) {
    const std::vector<Edit>& edits = plan.find(tensor)->edits;
    EXPECT_EQ(edits.size(), 1u) << tensor;
    return std::get<Scale>(edits.front());
  }
  const Module& module(const std::string& name) const { return *model_.find(name); }
};

TEST_F(GivenScalesOfLlama, GoIntoRowsAndBiasesAndOutOfReaders) {
  const RewritePlan plan = scaled();
  for (const std::string name : {kUp, kKey, kValue}) {
    EXPECT_EQ(*scale_of(plan, name + ".weight").by, *scales_.at(name));
    EXPECT_FALSE(scale_of(plan, name + ".weight").columns);
    EXPECT_EQ(*scale_of(plan, name + ".bias").by, *scales_.at(name));
    EXPECT_TRUE(scale_of(plan, name + ".bias").columns);
  }
  EXPECT_EQ(*scale_of(plan, "model.layers.0.mlp.down_proj.weight").by, *scales_.at(kUp));
  EXPECT_TRUE(scale_of(plan, "model.layers.0.mlp.down_proj.weight").inverse);
  // Query heads 0 and 1 read key-value head 0.
  std::vector<double> wide;
  for (int64_t i = 0; i < 32; ++i) wide.push_back(scales_.at(kKey)->at(static_cast<size_t>(i / 16 * 8 + i % 8)));
  for (const char* tensor : {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.bias",
                             "model.layers.1.self_attn.o_proj.weight"}) {
    EXPECT_EQ(*scale_of(plan, tensor).by, wide) << tensor;
    EXPECT_TRUE(scale_of(plan, tensor).inverse) << tensor;
  }
  EXPECT_TRUE(plan.find("model.layers.1.self_attn.o_proj.bias")->edits.empty());
  EXPECT_TRUE(plan.find("model.layers.0.mlp.gate_proj.weight")->edits.empty());
  check_cancels(plan);
}

TEST_F(GivenScalesOfLlama, AreAppliedAndUndoneWithRotations) {
  SpinQuantOptions spin{.rotations = {Spin::R1, Spin::R2, Spin::R3, Spin::R4}, .transform_type = "random-hadamard"};
  spin.transform_block_size = 8;
  spin.given.scales = scales_;
  RewritePlan plan(model_);
  rotate_model(model_, plan, {.spin = spin});
  const std::vector<Edit>& edits = plan.find("model.layers.1.self_attn.v_proj.weight")->edits;
  ASSERT_EQ(edits.size(), 4u);
  EXPECT_TRUE(std::holds_alternative<FoldNorm>(edits[0]));
  EXPECT_TRUE(std::holds_alternative<Scale>(edits[1]));
  RewritePlan back(model_);
  undo({{.config = {}, .scales = scales_}}, model_, back);
  EXPECT_FALSE(scale_of(back, "model.layers.0.mlp.down_proj.weight").inverse);
}

// Each edit of its own is missing once.
TEST_F(GivenScalesOfLlama, OneThatIsNotUndoneIsFound) {
  const auto refusal = [&](const std::string& name, const Scale& scale, bool bias = false) {
    RewritePlan plan = scaled();
    if (bias)
      plan.edit_bias(module(name), scale);
    else
      plan.edit_weight(module(name), scale);
    return message_of([&] { check_cancels(plan); });
  };
  const std::string layer = "model.layers.0.";
  const auto wide = powers(32);
  EXPECT_TRUE(refusal(kUp, {powers(48), "m"}).starts_with(layer + "mlp.up_proj"));
  EXPECT_TRUE(refusal(kUp, {powers(48), "m", true}, true).starts_with(layer + "mlp.up_proj.bias: is not scaled as"));
  EXPECT_TRUE(refusal(layer + "mlp.down_proj", {powers(48), "m", true})
                  .starts_with(layer + "mlp.up_proj.weight: what scales its rows, or moves them, is not undone by "));
  EXPECT_TRUE(refusal(layer + "self_attn.q_proj", {wide, "k"}, false).starts_with(layer + "self_attn.q_proj.bias"));
  EXPECT_TRUE(refusal(layer + "self_attn.o_proj", {wide, "v", true})
                  .starts_with(layer + "self_attn.o_proj.weight: does not undo"));
  EXPECT_EQ(refusal(layer + "mlp.gate_proj", {powers(48), "m"}),
            layer + "mlp.gate_proj.weight: its rows are scaled, and nothing undoes it");
  EXPECT_EQ(refusal(layer + "mlp.up_proj", {wide, "m", true}),
            layer + "mlp.up_proj.weight: its columns are scaled, and nothing undoes it");
}

TEST_F(GivenScalesOfLlama, PairsThatTurnNeedOneFactor) {
  std::vector<double> by(16, 1.0);
  by[12] = 2;
  const auto refusal = [&](const std::string& name, std::vector<double> some) {
    RewritePlan plan(model_);
    return message_of([&] { apply_scales({{name, factors(std::move(some))}}, model_, plan); });
  };
  EXPECT_EQ(refusal(kKey, by), std::string(kKey) +
                                   ": factors 8 and 12 are 1 and 2; the rotary embedding turns these two channels into "
                                   "each other, so they take one factor");
  EXPECT_EQ(refusal(kValue, by), "");
  EXPECT_EQ(refusal(kValue, {1, 2}), std::string(kValue) + ": has 2 factors for 16 rows");
  by[3] = 0;
  EXPECT_EQ(refusal(kValue, by), std::string(kValue) + ": factor 3 is 0; factors are positive and finite");
  EXPECT_EQ(refusal("model.layers.0.mlp.gate_proj", by).substr(0, 69),
            "model.layers.0.mlp.gate_proj: model.layers.0.mlp.gate_proj has no row");
}

TEST_F(GivenScalesOfLlama, AllThatTheModelHasAreListed) {
  const std::vector<LegalScale> scales = legal_scales(model_);
  ASSERT_EQ(scales.size(), 6u);
  EXPECT_EQ(scales[0].name, kUp);
  EXPECT_EQ(scales[2].name, kKey);
  EXPECT_EQ(scales[2].turning, 8);
  EXPECT_EQ(scales[2].partner(1), 5);
  EXPECT_EQ(scales[2].partner(13), 9);
  EXPECT_EQ(scales[5].name, kValue);
  EXPECT_EQ(scales[5].readers[0].size, 32);
}

// A stack has a vector for each expert.
TEST(GivenScales, AreGivenByTheNamesOfExperts) {
  GivenScales scales;
  const LegalScale stack{.name = "stack.up_proj", .experts = {"experts.0.up_proj", "experts.1.up_proj"}, .stack = 2};
  give(stack, std::vector<double>{1, 2, 3, 4}, scales);
  give({.name = "up_proj"}, std::vector<double>{5, 6}, scales);
  ASSERT_EQ(scales.size(), 3u);
  EXPECT_EQ(*scales.at("experts.0.up_proj"), (std::vector<double>{1, 2}));
  EXPECT_EQ(*scales.at("experts.1.up_proj"), (std::vector<double>{3, 4}));
  EXPECT_EQ(*scales.at("up_proj"), (std::vector<double>{5, 6}));
}

}  // namespace
}  // namespace spinor::given_scales_test
