#include "spinor/transform/given_inputs.h"

#include <gtest/gtest.h>

#include "spinor/linalg/orthogonal.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/paired.h"
#include "spinor/transform/quip.h"
#include "tests/golden/golden.h"

namespace spinor::given_inputs_test {
namespace {

using testing::message_of;

Rotation own(int64_t n, uint64_t seed) {
  Random random(seed);
  return Rotation::dense(random_orthogonal(n, random), true);
}

// Hidden size 32, two layers.
class GivenInputsTest : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory;
  const Model model = Model::describe(Checkpoint::open(testing::write_model(directory / "model", {})));

  RewritePlan planned(const GivenInputs& given, const QuipOptions& options = {}) const {
    TransformConfig config = quip(options);
    use_given_inputs(given, model, config);
    RewritePlan plan(model);
    apply_paired(config, model, plan);
    return plan;
  }
};

const std::string kQuery = "model.layers.0.self_attn.q_proj", kGate = "model.layers.1.mlp.gate_proj";

TEST_F(GivenInputsTest, LinearsThatReadTheSameAreOneSet) {
  std::vector<std::vector<std::string>> names;
  for (const auto& set : input_sets(quip({}).config_groups[0].second, model)) {
    names.emplace_back();
    for (const Module* linear : set) names.back().push_back(linear->name.substr(std::string("model.layers.").size()));
  }
  ASSERT_EQ(names.size(), 8U);
  EXPECT_EQ(names[0], (std::vector<std::string>{"0.self_attn.q_proj", "0.self_attn.k_proj", "0.self_attn.v_proj"}));
  EXPECT_EQ(names[1], (std::vector<std::string>{"0.self_attn.o_proj"}));
  EXPECT_EQ(names[2], (std::vector<std::string>{"0.mlp.gate_proj", "0.mlp.up_proj"}));
  EXPECT_EQ(names[7], (std::vector<std::string>{"1.mlp.down_proj"}));
}

TEST_F(GivenInputsTest, EachSetGetsItsMatrixAndTheOthersAreDrawn) {
  const Rotation query = own(32, 1), gate = own(8, 2);
  const RewritePlan plan = planned({{kQuery, query}, {kGate, gate}});
  std::map<std::string, int> groups;
  const std::map<std::string, const Rotation*> wanted = {{"v_0", &query}, {"v_1", &gate}};
  for (const OnlineTransform& online : plan.online()) {
    ++groups[online.group];
    const auto own_one = wanted.find(online.group);
    EXPECT_TRUE(own_one == wanted.end() || online.r.same_as(*own_one->second)) << online.module;
  }
  EXPECT_EQ(groups, (std::map<std::string, int>{{"v", 9}, {"v_0", 3}, {"v_1", 2}}));
  EXPECT_NE(plan.text().find("W v_1 (4 blocks of 8)"), std::string::npos) << plan.text();
}

TEST_F(GivenInputsTest, AGroupThatNobodyIsLeftInGoes) {
  TransformConfig config = quip({.targets = {"re:.*layers.0.*[qkv]_proj$"}});
  use_given_inputs({{kQuery, own(32, 1)}}, model, config);
  ASSERT_EQ(config.config_groups.size(), 1U);
  EXPECT_EQ(config.config_groups[0].first, "v_0");
}

TEST_F(GivenInputsTest, WhatFitsNoSetIsRefused) {
  EXPECT_EQ(
      message_of([&] { planned({{"model.layers.0.self_attn.k_proj", own(32, 1)}}); }),
      "v.model.layers.0.self_attn.k_proj: is not the first of those linears among the targets that read the same; "
      "name the first of them: q_proj for q_proj, k_proj and v_proj");
  EXPECT_EQ(message_of([&] { planned({{kQuery, own(16, 1)}}, {.transform_block_size = 8}); }),
            "v." + kQuery + ": is of size 16, not of 8; leave transform_block_size (or head_dim) out");
  EXPECT_EQ(
      message_of([&] { planned({{kQuery, own(32, 1)}}, {.rotations = {Quip::u}}); }),
      "v." + kQuery +
          ": is for the inputs of one linear, and no v is among the rotations; give the file as rotation_file of a "
          "QuIPModifier whose rotations have v");
  TransformConfig config = quip({});
  config.config_groups[0].second.apply.push_back({{"Linear"}, TransformLocation::output, false, {}});
  EXPECT_EQ(message_of([&] { use_given_inputs({{kQuery, own(32, 1)}}, model, config); }),
            "v: acts at output, where no linear has a matrix of its own; put that into a group of another name");
}

}  // namespace
}  // namespace spinor::given_inputs_test
