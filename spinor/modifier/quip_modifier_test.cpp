#include "spinor/modifier/quip_modifier.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/oneshot.h"
#include "tests/golden/golden.h"

namespace spinor::quip_modifier_test {
namespace {

using testing::message_of;

// A recipe of one QuIPModifier, whose arguments stand on line 4.
std::string recipe_of(const std::string& arguments) {
  return "a_stage:\n  b_modifiers:\n    QuIPModifier:\n      {" + arguments + "}\n";
}

struct Result {
  RewritePlan plan;
  std::string yaml;  // the recipe after the run
};

Result run(const std::string& text, const Model& model) {
  Recipe recipe = Recipe::parse(text, "recipe.yaml");
  RewritePlan plan(model);
  run_recipe(recipe, model, plan);
  return {std::move(plan), recipe.yaml()};
}

Model llama(const std::string& name = "llama") {
  return golden::model("transforms/" + name);
}

// The plans do the same to every tensor, and online.
void expect_equal(const RewritePlan& a, const RewritePlan& b) {
  EXPECT_EQ(a.text(true), b.text(true));
  EXPECT_EQ(a.precision(), b.precision());
  EXPECT_EQ(a.transform_config(), b.transform_config());
  for (const TensorPlan& tensor : a.tensors())
    EXPECT_EQ(golden::distance(golden::evaluate(a, tensor), golden::evaluate(b, golden::tensor(b, tensor.name))), 0);
  for (size_t i = 0; i < std::min(a.online().size(), b.online().size()); ++i)
    EXPECT_EQ(golden::distance(a.online()[i].r.matrix(), b.online()[i].r.matrix()), 0);
}

constexpr const char* kQ = "model.layers.0.self_attn.q_proj.weight";

TEST(QuIPModifier, WithNothingSaidRotatesTheInputsOfLinears) {
  EXPECT_EQ(QuIPModifier({}).arguments(), Json::parse(R"({"rotations": ["v"], "transform_type": "random-hadamard",
      "targets": ["Linear"], "ignore": ["lm_head"], "randomize": false, "learnable": false,
      "precision": "torch.float64", "transform_block_size": null, "transform_config": null, "seed": null})"));
  const RewritePlan plan = run(recipe_of(""), llama()).plan;
  EXPECT_EQ(plan.online().size(), 14U) << "seven linears in two layers, not the head";
  for (const OnlineTransform& online : plan.online())
    EXPECT_EQ(online.group + std::string(name_of(online.location)), "vinput");
  EXPECT_EQ(plan.precision(), Precision::float64);
}

TEST(QuIPModifier, MakesGroupsVThenUInWhateverOrderAndCase) {
  const RewritePlan one = run(recipe_of("rotations: [v, u], transform_block_size: 4"), llama()).plan;
  expect_equal(one, run(recipe_of("rotations: [U, V, u], transform_block_size: 4"), llama()).plan);
  std::vector<std::string> groups;
  for (const auto& [name, scheme] : one.transform_config()["config_groups"].items()) {
    groups.push_back(name);
    EXPECT_EQ(scheme["head_dim"], 4);
  }
  EXPECT_EQ(groups, (std::vector<std::string>{"v", "u"}));
  EXPECT_TRUE(run(recipe_of("rotations: []"), llama()).plan.online().empty());
}

TEST(QuIPModifier, TransformsEachSideByItsWholeLengthUnlessToldABlock) {
  const RewritePlan plan = run(recipe_of("rotations: [v, u]"), llama()).plan;
  for (const OnlineTransform& online : plan.online()) {
    const TensorInfo& weight = plan.model().find(online.module)->weight->info;
    EXPECT_EQ(online.r.size(), online.location == TransformLocation::input ? weight.cols() : weight.rows())
        << online.module;
  }
}

TEST(QuIPModifier, NeedsNoKnownArchitectureAndFoldsNoNorm) {
  const RewritePlan plan = run(recipe_of("rotations: [v, u]"), golden::unknown_model("transforms/llama")).plan;
  EXPECT_EQ(plan.online().size(), 28U);
  for (const TensorPlan& tensor : plan.tensors())
    for (const Edit& edit : tensor.edits) EXPECT_FALSE(std::holds_alternative<FoldNorm>(edit)) << tensor.name;
}

TEST(QuIPModifier, UntiesTheHeadOnlyWhenItIsATarget) {
  EXPECT_FALSE(run(recipe_of("rotations: [v, u]"), llama("llama_tied")).plan.untied());
  EXPECT_TRUE(run(recipe_of("ignore: []"), llama("llama_tied")).plan.untied());
  EXPECT_FALSE(run(recipe_of("ignore: []"), llama()).plan.untied()) << "nothing is tied";
}

TEST(QuIPModifier, ItsSavedRecipeGivesTheSameResultAgain) {
  const char* const rows[] = {
      "",
      "rotations: [u], transform_type: random-matrix, precision: float32, start: 0",
      "rotations: [v, u], transform_type: random-orthogonal, seed: 7",
      "rotations: [v, u], randomize: true, transform_block_size: 4, transform_type: hadamard",
      "targets: ['re:.*up_proj$', 're:.*q_proj$'], ignore: 're:.*layers.1.*'",
  };
  for (const char* row : rows) {
    SCOPED_TRACE(row);
    const Result first = run(recipe_of(row), llama()), second = run(first.yaml, llama());
    expect_equal(first.plan, second.plan);
    EXPECT_EQ(first.yaml, second.yaml);
  }
}

TEST(QuIPModifier, PrecisionIsThatOfThePlan) {
  EXPECT_EQ(run(recipe_of("precision: float32"), llama()).plan.precision(), Precision::float32);
  const std::string after =
      "a_stage: {b_modifiers: {SpinQuantModifier: {}, QuIPModifier: {precision: float32, targets: 're:.*down_proj$'}}}";
  EXPECT_EQ(run(after, llama()).plan.precision(), Precision::float64) << "never less than asked";
}

TEST(QuIPModifier, ItsSeedIsThatOfEveryGroup) {
  const auto matrix = [](const std::string& arguments) {
    return run(recipe_of(arguments), llama()).plan.online().front().r.matrix();
  };
  EXPECT_EQ(golden::distance(matrix(""), matrix("seed: 67280421310721")), 0);
  EXPECT_GT(golden::distance(matrix(""), matrix("seed: 1")), 0);
}

TEST(QuIPModifier, ATransformConfigReplacesItsArguments) {
  const std::string config =
      "transform_config: {config_groups: {mine: {type: hadamard, head_dim: 4, apply: [{targets: 're:.*q_proj$', "
      "location: input}, {targets: 're:.*q_proj$', location: weight_input, inverse: true}]}}}";
  const RewritePlan plan = run(recipe_of("rotations: [u], targets: Linear, " + config), llama()).plan;
  EXPECT_EQ(plan.online().size(), 2U);
  EXPECT_EQ(plan.online().front().group, "mine");
  const std::string early =
      "transform_config: {transform_groups: {u: {transform_type: hadamard, transform_creation_args: {size: 4}, "
      "groups: [{targets: 're:.*k_proj$', module_targets: [weight]}]}}}";
  const Result of_early = run(recipe_of(early), llama());
  EXPECT_EQ(of_early.plan.online().size(), 2U);
  EXPECT_NE(of_early.yaml.find("config_groups"), std::string::npos) << "saved in the words of today";
}

TEST(QuIPModifier, WhatDoesNotCancelIsRefusedAndLeavesThePlanAlone) {
  const Model model = llama();
  RewritePlan plan(model);
  Recipe recipe = Recipe::parse(
      recipe_of("transform_config: {config_groups: {half: {type: hadamard, head_dim: 4, apply: [{targets: "
                "'re:.*q_proj$', location: weight_input}]}}}"),
      "recipe.yaml");
  EXPECT_TRUE(message_of([&] { run_recipe(recipe, model, plan); }).starts_with(kQ));
  EXPECT_EQ(plan.text(true), RewritePlan(model).text(true));
  EXPECT_TRUE(plan.transform_config().is_null());
}

TEST(QuIPModifier, MeetsSpinQuantBeforeItOnOtherSidesOnly) {
  const auto both = [](const std::string& spin, const std::string& quip) {
    return "a_stage: {b_modifiers: {SpinQuantModifier: {" + spin + "}, QuIPModifier: {" + quip + "}}}";
  };
  const RewritePlan plan = run(both("rotations: [R1, R2]", "rotations: [v, u]"), llama()).plan;
  EXPECT_EQ(plan.transform_config()["config_groups"].size(), 4U);
  EXPECT_EQ(plan.online().size(), 28U);
}

TEST(QuIPModifier, RefusesArgumentsByLineAndName) {
  const std::pair<std::string, std::string> rows[] = {
      {"rotations: v", "recipe.yaml:4: QuIPModifier.rotations must be a list, not \"v\""},
      {"rotations: [w]", "recipe.yaml:4: QuIPModifier.rotations[0] must be one of v, u, not 'w'"},
      {"transform_type: Hadamard", "recipe.yaml:4: no transform type is called 'Hadamard'; did you mean 'hadamard'?"},
      {"learning: {rotations: [R1]}", "recipe.yaml:4: 'R1' is nothing that can be learned; known: v"},
      {"rotation_digest: abc", "recipe.yaml:4: is the digest of no file; give rotation_file, too"},
      {"precision: bfloat16",
       "recipe.yaml:4: QuIPModifier.precision: weights cannot be transformed in torch.bfloat16; use float64 or "
       "float32"},
      {"block_size: 4",
       "recipe.yaml:4: unknown key 'block_size' in QuIPModifier; known: requires_calibration_data, "
       "index, group, start, end, update, rotations, transform_type, targets, ignore, randomize, "
       "learnable, learning, precision, transform_block_size, transform_config, rotation_file, rotation_digest, seed"},
      {"transform_config: {config_groups: {g: {type: hadamard, requires_grad: true}}}",
       "recipe.yaml:4: only a group called v is learnable; set requires_grad: false"},
  };
  for (const auto& [arguments, message] : rows)
    EXPECT_EQ(message_of([&] { Recipe::parse(recipe_of(arguments), "recipe.yaml"); }), message) << arguments;
}

TEST(QuIPModifier, NamesTheTensorThatABlockDoesNotFit) {
  EXPECT_EQ(message_of([] { run(recipe_of("transform_block_size: 8"), llama()); }),
            "model.layers.0.mlp.down_proj.weight: v: blocks of 8 do not divide its input of 12; use --block-size "
            "4 by command, transform_block_size (or head_dim): 4 in a recipe");
  EXPECT_EQ(message_of([] { run(recipe_of("targets: 're:.*fc1$'"), llama()); }),
            "re:.*fc1$: v: no module of the model matches this target");
}

}  // namespace
}  // namespace spinor::quip_modifier_test
