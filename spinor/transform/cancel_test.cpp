#include "spinor/transform/cancel.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/fold.h"
#include "tests/golden/golden.h"

namespace spinor::cancel_test {
namespace {

using enum TransformLocation;

struct Options {
  bool fold = true;
  CancelOptions cancel = {};
  std::string model = "transforms/llama";
};

// What check_cancels says about a config, "" if nothing.
std::string verdict(const TransformConfig& config, const Options& options = {}) {
  const Model model = golden::model(options.model);
  RewritePlan plan(model);
  plan.untie();
  if (options.fold) fold_norms(model, plan);
  apply(config, model, plan);
  try {
    check_cancels(plan, options.cancel);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TransformConfig config_of(std::vector<Spin> rotations, std::string type = "random-hadamard", bool compat = false) {
  const Model model = golden::model("transforms/llama");
  return spinquant(
      model, {.rotations = std::move(rotations), .transform_type = std::move(type), .llm_compressor_compat = compat});
}

TransformScheme scheme(std::vector<TransformArgs> args, std::string type = "random-hadamard") {
  return {.type = std::move(type), .apply = std::move(args)};
}

bool names(const std::string& message, const std::string& subject) {
  return message.starts_with(subject + ":");
}

TEST(CheckCancels, AcceptsEveryRotationOfSpinQuant) {
  for (const char* model : {"transforms/llama", "transforms/llama_tied", "transforms/qwen3"})
    for (const char* type : {"random-hadamard", "random-orthogonal"})
      EXPECT_EQ(verdict(config_of({Spin::R1, Spin::R2, Spin::R3, Spin::R4}, type), {.model = model}), "");
}

TEST(CheckCancels, AcceptsNothingAtAll) {
  EXPECT_EQ(verdict({}, {.fold = false}), "");
}

TEST(CheckCancels, AcceptsBlocks) {
  const Model model = golden::model("transforms/llama");
  for (const int64_t block : {1, 2, 4})
    EXPECT_EQ(verdict(spinquant(model, {.transform_block_size = block})), "") << block;
}

TEST(CheckCancels, AcceptsPairsOnOneLinear) {
  for (const char* type : {"random-hadamard", "random-matrix"}) {
    const TransformScheme v = scheme({{{"Linear"}, input, false, {}}, {{"Linear"}, weight_input, true, {}}}, type);
    const TransformScheme u = scheme({{{"Linear"}, weight_output, false, {}}, {{"Linear"}, output, true, {}}}, type);
    EXPECT_EQ(verdict({.config_groups = {{"v", v}, {"u", u}}}, {.fold = false}), "");
    TransformConfig both = config_of({Spin::R1, Spin::R2});
    both.config_groups.emplace_back("v", v);
    both.config_groups.emplace_back("u", u);
    EXPECT_EQ(verdict(both), "");
  }
}

// The later hook runs first on an input and last on an output (compressed-tensors 0.20), and the weights are edited in
// the order that undoes it: x v R4 (v R4)^-1.
TEST(CheckCancels, TwoOnlineGroupsOnOneSideCancel) {
  TransformConfig config = config_of({Spin::R4});
  config.config_groups.emplace_back("v",
                                    scheme({{{"Linear"}, input, false, {}}, {{"Linear"}, weight_input, true, {}}}));
  config.config_groups[0].second.head_dim = 4;
  EXPECT_EQ(verdict(config), "");
  TransformScheme u = scheme({{{"Linear"}, weight_output, false, {}}, {{"Linear"}, output, true, {}}});
  config = {.config_groups = {{"u", u}}};
  u.head_dim = 4;
  config.config_groups.emplace_back("u4", u);
  EXPECT_EQ(verdict(config), "");
}

TEST(CheckCancels, AcceptsRotationsThatUndoEachOther) {
  TransformConfig config = config_of({Spin::R2});
  config.config_groups.emplace_back("undo", config.config_groups[0].second);
  for (TransformArgs& args : config.config_groups[1].second.apply) args.inverse = !args.inverse;
  EXPECT_EQ(verdict(config), "");
}

TEST(CheckCancels, WantsAnOrthogonalMatrixOnTheResidualStream) {
  const TransformConfig config = config_of({Spin::R1}, "random-matrix", true);
  EXPECT_EQ(
      verdict(config),
      "model.embed_tokens.weight: the transform of the residual stream is not orthogonal, and an RMS norm does not "
      "commute with it; "
      "use --transform-type auto by command, transform_type: auto in a recipe");
  EXPECT_EQ(verdict(config, {.cancel = {.any_stream_matrix = true}}), "");
  EXPECT_EQ(verdict(config_of({Spin::R2}, "random-matrix")), "");
}

// No product of edits shows it where nothing is rotated.
TEST(CheckCancels, WantsNormsFoldedIntoAllTheirReaders) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  fold_norms(model, plan, {{"re:.*1.post_attention_layernorm$", {"re:.*1.mlp.up_proj$"}}});
  try {
    check_cancels(plan);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "model.layers.1.mlp.gate_proj.weight: reads through model.layers.1.post_attention_layernorm.weight, "
                 "which is folded into other linears only; name it in the norm mapping");
  }
}

TEST(CheckCancels, WantsNormsFolded) {
  EXPECT_EQ(verdict(config_of({Spin::R1}), {.fold = false}),
            "model.layers.0.self_attn.q_proj.weight: reads the rotated residual stream through a norm that is not "
            "folded into it; "
            "name it in a norm mapping, or fold norms before applying the config");
}

// Every target of R1 and R2 in turn is forgotten, and the tensor that now differs from the others is named.
TEST(CheckCancels, NamesTheTensorThatWasForgotten) {
  const TransformConfig whole = config_of({Spin::R1, Spin::R2});
  const std::string layer = "model.layers.1.";
  for (const char* module : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.up_proj", "mlp.gate_proj", "mlp.down_proj"}) {
    TransformConfig config = whole;
    for (TransformArgs& args : config.config_groups[0].second.apply) args.ignore = {layer + module};
    EXPECT_TRUE(names(verdict(config), layer + module + ".weight")) << module << verdict(config);
  }
  TransformConfig config = whole;
  config.config_groups[0].second.apply[1].ignore = {"lm_head"};
  EXPECT_TRUE(names(verdict(config), "lm_head.weight")) << verdict(config);
  for (const size_t forgotten : {0, 1}) {
    config = whole;
    config.config_groups[1].second.apply[forgotten].ignore = {"re:.*layers.1.*"};
    EXPECT_TRUE(names(verdict(config), layer + "self_attn.o_proj.weight")) << verdict(config);
  }
}

TEST(CheckCancels, RefusesAWrongSideOrSeed) {
  TransformConfig config = config_of({Spin::R1});
  config.config_groups[0].second.apply[1].inverse = false;
  EXPECT_TRUE(names(verdict(config), "model.layers.0.self_attn.q_proj.weight")) << verdict(config);
  config = config_of({Spin::R1, Spin::R1});
  TransformScheme readers = config.config_groups[0].second;
  readers.apply.erase(readers.apply.begin());
  readers.seed = 7;
  config.config_groups[0].second.apply.pop_back();
  config.config_groups.emplace_back("other", readers);
  EXPECT_TRUE(names(verdict(config), "model.layers.0.self_attn.q_proj.weight")) << verdict(config);
}

TEST(CheckCancels, RefusesATransformWithoutPartner) {
  const auto alone = [](std::string target, TransformLocation location) {
    return verdict({.config_groups = {{"x", scheme({{{std::move(target)}, location, false, {}}})}}});
  };
  EXPECT_TRUE(names(alone("re:.*down_proj$", input), "model.layers.0.mlp.down_proj.weight"));
  EXPECT_TRUE(names(alone("re:.*down_proj$", weight_input), "model.layers.0.mlp.down_proj.weight"));
  EXPECT_TRUE(names(alone("re:.*up_proj$", weight_output), "model.layers.0.mlp.up_proj.weight"));
  EXPECT_TRUE(names(alone("re:.*q_proj$", weight_output), "model.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(names(alone("re:.*q_proj$", input), "model.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(names(alone("lm_head", output), "lm_head.weight"));
  EXPECT_TRUE(names(alone("model.embed_tokens", weight_input), "model.embed_tokens.weight"));
  EXPECT_TRUE(names(alone("model.embed_tokens", output), "model.layers.0.self_attn.q_proj.weight"));
}

TEST(CheckCancels, RefusesOnlineTransformsOfOtherModules) {
  TransformScheme other = scheme({{{"model.norm"}, output, false, {}}});
  other.head_dim = 8;
  EXPECT_EQ(verdict({.config_groups = {{"x", other}}}),
            "model.norm: x: nothing undoes its output; use linears as targets");
  TransformScheme query = scheme({{{"re:.*self_attn$"}, q_attn, false, {}}});
  query.head_dim = 4;
  EXPECT_TRUE(names(verdict({.config_groups = {{"R3", query}}}), "model.layers.0.self_attn"));
}

// What check_cancels says about R2 on a model of an unknown architecture, with a mapping of the user's.
std::string verdict_of_mapping(const SpinQuantMapping& mapping) {
  const Model model = golden::unknown_model("transforms/llama");
  RewritePlan plan(model);
  apply(config_of({Spin::R2}), model, plan);
  try {
    check_cancels(plan, mapping);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CheckCancels, RefusesRotationsAcrossHeads) {
  SpinQuantMapping mapping = infer_mapping(golden::model("transforms/llama"));
  EXPECT_EQ(verdict_of_mapping(mapping), "");
  mapping.attn_head_dim = 2;  // as if R2, of size 4, covered two key-value heads
  EXPECT_EQ(verdict_of_mapping(mapping),
            "model.layers.0.self_attn.v_proj.weight: its transform mixes heads (of 2 rows), whose attention differs; "
            "set head_dim of the group to that of the model");
  TransformConfig config = config_of({Spin::R2});
  config.config_groups[0].second.head_dim = 2;
  EXPECT_EQ(verdict(config), "") << "within a head any blocks will do";
}

TEST(CheckCancels, RefusesMappingsThatCannotBeMeant) {
  const SpinQuantMapping whole = infer_mapping(golden::model("transforms/llama"));
  SpinQuantMapping mapping = whole;
  mapping.embedding = "re:.*lm_head$";
  EXPECT_EQ(verdict_of_mapping(mapping), "re:.*lm_head$: must match one embedding; correct `embedding` of the mapping");
  mapping = whole;
  mapping.mlp_in = {"re:.*fc1$"};
  EXPECT_EQ(verdict_of_mapping(mapping), "re:.*fc1$: no module of the model matches this target of the mapping");
  mapping = whole;
  mapping.mlp_in = {"re:.*_layernorm$"};
  EXPECT_EQ(verdict_of_mapping(mapping),
            "model.layers.0.input_layernorm: matches re:.*_layernorm$, but is not a linear");
  mapping = whole;
  mapping.mlp_in = whole.mlp_out;
  EXPECT_EQ(verdict_of_mapping(mapping),
            "model.layers.0.mlp.down_proj.weight: cannot read a stream of 8: it has 12 columns");
  mapping = whole;
  mapping.mlp_out = whole.mlp_in;
  EXPECT_EQ(verdict_of_mapping(mapping),
            "model.layers.0.mlp.gate_proj.weight: cannot write a stream of 8: it has 12 rows");
  mapping = whole;
  mapping.attn_head_dim = 0;
  EXPECT_EQ(verdict_of_mapping(mapping), "attn_head_dim: must be 1 or more, not 0");
}

TEST(CheckCancels, WantsTheBiasToMoveWithItsWeight) {
  const Model model = golden::model("transforms/llama");
  const Rotation r = Rotation::hadamard(Hadamard::sylvester(4), {1, -1, -1, 1});
  RewritePlan plan(model);
  plan.edit_weight(*model.find("model.layers.0.self_attn.v_proj"), MultiplyLeft{r.transposed(), "R2'"});
  plan.edit_weight(*model.find("model.layers.0.self_attn.o_proj"), MultiplyRight{r, "R2"});
  try {
    check_cancels(plan);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "model.layers.0.self_attn.v_proj.bias: is not transformed as the rows of its weight");
  }
}

}  // namespace
}  // namespace spinor::cancel_test
