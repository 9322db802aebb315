#include "spinor/transform/paired.h"

#include <gtest/gtest.h>

#include "spinor/transform/apply.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/fold_online.h"
#include "spinor/transform/net_product.h"
#include "spinor/transform/quip.h"
#include "spinor/transform/spinquant.h"
#include "tests/golden/golden.h"

namespace spinor::paired_test {
namespace {

using enum TransformLocation;

TransformConfig pair_on(std::string target, std::string type = "random-hadamard") {
  return {.config_groups = {{"p",
                             {.type = std::move(type),
                              .apply = {{{target}, input, false, {}}, {{target}, weight_input, true, {}}}}}}};
}

std::string refusal(const TransformConfig& config, const Model& model) {
  RewritePlan plan(model);
  try {
    apply_paired(config, model, plan);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Paired, EveryTypeAndBlockCancelsOnEveryLinearOfAnyArchitecture) {
  for (const Model& model : {golden::model("transforms/llama"), golden::model("transforms/qwen3"),
                             golden::unknown_model("transforms/llama")}) {
    for (const char* type : {"hadamard", "random-hadamard", "random-matrix", "random-orthogonal"}) {
      for (const std::vector<Quip>& rotations : {std::vector{Quip::v}, {Quip::u}, {Quip::v, Quip::u}}) {
        QuipOptions options{.rotations = rotations, .transform_type = type, .transform_block_size = 4};
        options.randomize = std::string_view(type) != "random-orthogonal";
        RewritePlan plan(model);
        apply_paired(quip(options), model, plan);
        const NetProducts net(plan);
        for (const Module& module : model.modules()) {
          if (module.kind != ModuleKind::linear || module.name == "lm_head") continue;
          EXPECT_EQ(net.online(module, TransformLocation::input).size() +
                        net.online(module, TransformLocation::output).size(),
                    rotations.size());
          EXPECT_TRUE(is_identity(net.incoming(module), module.weight->info.cols())) << module.name << type;
          EXPECT_TRUE(is_identity(net.outgoing(module), module.weight->info.rows())) << module.name << type;
        }
      }
    }
  }
}

TEST(Paired, UntiesOnlyForTheEmbeddingOrTheHead) {
  const Model model = golden::model("transforms/llama_tied");
  RewritePlan plan(model);
  apply_paired(quip({}), model, plan);
  EXPECT_FALSE(plan.untied());
  apply_paired(pair_on("lm_head"), model, plan);
  EXPECT_TRUE(plan.untied());
  EXPECT_TRUE(golden::tensor(plan, "model.embed_tokens.weight").edits.empty());
}

TEST(Paired, AnEmbeddingCancelsWithItself) {
  const Model model = golden::model("transforms/llama");
  const TransformConfig config = {
      .config_groups = {{"e",
                         {.type = "random-hadamard",
                          .apply = {{{"Embedding"}, weight_output, false, {}}, {{"Embedding"}, output, true, {}}}}}}};
  EXPECT_EQ(refusal(config, model), "");
  TransformConfig half = config;
  half.config_groups[0].second.apply.pop_back();
  EXPECT_EQ(refusal(half, model), "model.embed_tokens.weight: is transformed, and nothing undoes it");
}

TEST(Paired, WhatNothingUndoesIsRefusedByTensor) {
  for (const Model& model : {golden::model("transforms/llama"), golden::unknown_model("transforms/llama")}) {
    TransformConfig config = quip({.rotations = {Quip::v, Quip::u}});
    config.config_groups[0].second.apply[1].ignore.push_back("model.layers.1.mlp.up_proj");
    EXPECT_TRUE(refusal(config, model).starts_with("model.layers.1.mlp.up_proj.weight: its input side"));
    config = quip({.rotations = {Quip::u}});
    config.config_groups[0].second.apply[1].inverse = false;
    EXPECT_NE(refusal(config, model).find(".weight: its output side is transformed, and nothing undoes it"),
              std::string::npos);
  }
}

TEST(Paired, MeetsRotationsThatWereThereAndDoesNotAskThemToCancel) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  const Rotation r = Rotation::hadamard(Hadamard::sylvester(8), {1, -1, 1, 1, -1, 1, -1, -1});
  plan.edit_weight(*model.find("lm_head"), MultiplyRight{r, "R1"});
  apply_paired(quip({}), model, plan);
  EXPECT_EQ(golden::tensor(plan, "lm_head.weight").edits.size(), 1u);
  EXPECT_EQ(golden::tensor(plan, "model.layers.0.mlp.up_proj.weight").edits.size(), 1u);
}

// Of matrices that do not commute, in both orders of what is fused, what is R4's, and what is QuIP's.
TEST(Paired, CancelsWithWhatAnEarlierModifierLeftToRunOnline) {
  const Model model = golden::model("transforms/llama");
  const auto quip_with = [](uint64_t seed) {
    return quip({.rotations = {Quip::v, Quip::u}, .transform_type = "random-orthogonal", .seed = seed});
  };
  RewritePlan plan(model);
  apply_paired(quip_with(1), model, plan);
  apply(spinquant(model, {.rotations = {Spin::R2, Spin::R4}, .transform_type = "random-orthogonal"}), model, plan);
  apply_paired(quip_with(2), model, plan);
  check_cancels(plan);
  fold_online(plan);
  check_cancels(plan);
}

TEST(Paired, TheConfigOfThePlanHasEveryGroupUnderTheNameOfItsTensors) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  apply_paired(pair_on("re:.*up_proj$", "Random_Hadamard"), model, plan);
  apply_paired(pair_on("re:.*gate_proj$"), model, plan);
  std::vector<std::string> groups;
  for (const auto& [name, scheme] : plan.transform_config()["config_groups"].items()) {
    groups.push_back(name);
    EXPECT_EQ(scheme["type"], "random-hadamard") << "as compressed-tensors spells it";
  }
  EXPECT_EQ(groups, (std::vector<std::string>{"p", "p_1"}));
  EXPECT_EQ(plan.online().back().group, "p_1");
}

}  // namespace
}  // namespace spinor::paired_test
