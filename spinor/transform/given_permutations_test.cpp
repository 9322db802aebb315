#include "spinor/transform/given_permutations.h"

#include <gtest/gtest.h>

#include <numeric>

#include "spinor/linalg/random.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/inverse.h"
#include "spinor/transform/rotate_model.h"

namespace spinor::given_permutations_test {
namespace {

using testing::message_of;

constexpr const char* kDown = "model.layers.0.mlp.down_proj";

// Hidden size 32, 48 inner rows, two layers, biases.
class GivenPermutationsTest : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  const Model model_ = Model::describe(Checkpoint::open(testing::write_model(directory_ / "model", {.biases = true})));
  const std::shared_ptr<const std::vector<int64_t>> order_ =
      std::make_shared<const std::vector<int64_t>>(Random(3).permutation(48));
  const Rotation moves_ = Rotation::reordering(*order_);

  const Module& module(const std::string& name) const { return *model_.find("model.layers.0.mlp." + name); }
  RewritePlan moved() const {
    RewritePlan plan(model_);
    apply_permutations({{kDown, order_}}, model_, plan);
    return plan;
  }
};

TEST_F(GivenPermutationsTest, MoveRowsBiasesAndColumns) {
  const RewritePlan plan = moved();
  check_cancels(plan);
  for (const char* name : {"gate_proj", "up_proj"}) {
    const std::string tensor = module(name).name;
    EXPECT_EQ(std::get<MultiplyLeft>(plan.find(tensor + ".weight")->edits.at(0)).r.transposed().matrix().data,
              moves_.matrix().data);
    EXPECT_EQ(std::get<MultiplyRight>(plan.find(tensor + ".bias")->edits.at(0)).r.matrix().data, moves_.matrix().data);
  }
  EXPECT_EQ(plan.find(std::string(kDown) + ".weight")->edits.size(), 1u);
  EXPECT_TRUE(plan.find(std::string(kDown) + ".bias")->edits.empty());
}

TEST_F(GivenPermutationsTest, StandBesideScalesAndRotationsAndAreUndone) {
  std::vector<double> by(48);
  std::iota(by.begin(), by.end(), 1.0);
  SpinQuantOptions spin{.rotations = {Spin::R1, Spin::R2, Spin::R4}, .transform_type = "random-hadamard"};
  spin.transform_block_size = 8;
  spin.given.scales["model.layers.0.mlp.up_proj"] = std::make_shared<const std::vector<double>>(by);
  spin.given.permutations[kDown] = order_;
  RewritePlan plan(model_);
  rotate_model(model_, plan, {.spin = spin});
  RewritePlan back(model_);
  undo({{.config = {}, .scales = spin.given.scales, .permutations = spin.given.permutations}}, model_, back);
  const std::vector<Edit>& edits = back.find(std::string(kDown) + ".weight")->edits;
  ASSERT_EQ(edits.size(), 2u);
  EXPECT_EQ(std::get<MultiplyRight>(edits[0]).r.matrix().data, moves_.transposed().matrix().data);
  EXPECT_TRUE(std::holds_alternative<Scale>(edits[1]));
}

// Each edit of its own is done once more.
TEST_F(GivenPermutationsTest, OneThatIsNotUndoneIsFound) {
  const auto refusal = [&](const std::string& name, const Edit& edit, bool bias = false) {
    RewritePlan plan = moved();
    if (bias)
      plan.edit_bias(module(name), edit);
    else
      plan.edit_weight(module(name), edit);
    return message_of([&] { check_cancels(plan); });
  };
  const MultiplyLeft rows{moves_, "P"};
  const MultiplyRight columns{moves_, "P"};
  const std::string up = module("up_proj").name + ".weight: what scales its rows, or moves them, is not undone by ";
  EXPECT_TRUE(refusal("down_proj", columns).starts_with(up));
  EXPECT_TRUE(refusal("gate_proj", columns, true).starts_with(module("gate_proj").name + ".bias"));
  EXPECT_TRUE(refusal("up_proj", rows).starts_with(module("up_proj").name + ".bias"));
  EXPECT_EQ(refusal("down_proj", MultiplyLeft{Rotation::reordering(Random(1).permutation(32)), "P"}),
            std::string(kDown) + ".weight: its rows are in another order, and nothing undoes it");
  const auto alone = [&](const char* name) {
    RewritePlan plan(model_);
    plan.edit_weight(module(name), rows);
    plan.edit_bias(module(name), MultiplyRight{moves_.transposed(), "P"});
    plan.edit_weight(module("down_proj"), MultiplyRight{moves_.transposed(), "P"});
    return message_of([&] { check_cancels(plan); });
  };
  EXPECT_TRUE(alone("gate_proj").starts_with(up));
  EXPECT_TRUE(alone("up_proj").starts_with(up));
}

TEST_F(GivenPermutationsTest, WhatIsNoneIsRefused) {
  const auto refusal = [&](const std::string& name, std::vector<int64_t> order) {
    RewritePlan plan(model_);
    const auto given = std::make_shared<const std::vector<int64_t>>(std::move(order));
    return message_of([&] { apply_permutations({{name, given}}, model_, plan); });
  };
  EXPECT_EQ(refusal(kDown, {1, 0}), std::string(kDown) + ": has 2 entries for 48 channels");
  EXPECT_EQ(refusal("lm_head", *order_),
            "lm_head: lm_head does not read the channels of an MLP; this model has permutation." + std::string(kDown) +
                ", and so on in each layer");
}

}  // namespace
}  // namespace spinor::given_permutations_test
