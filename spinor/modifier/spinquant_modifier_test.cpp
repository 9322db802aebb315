#include "spinor/modifier/spinquant_modifier.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/testing.h"
#include "spinor/transform/factory.h"
#include "tests/golden/golden.h"

namespace spinor::spinquant_modifier_test {
namespace {

using testing::distance;
using testing::has_edit;
using testing::llama;
using testing::message_of;
using testing::recipe_of;
using testing::Result;
using testing::run;

constexpr const char* kQ = "model.layers.1.self_attn.q_proj.weight";
constexpr const char* kV = "model.layers.1.self_attn.v_proj.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

TEST(SpinQuantModifier, WithNothingSaidRotatesByR1AndR2) {
  const Json arguments = SpinQuantModifier({}).arguments();
  EXPECT_EQ(arguments, Json::parse(R"({"rotations": ["R1", "R2"], "transform_type": "hadamard", "randomize": false,
      "learnable": false, "precision": "torch.float64", "transform_block_size": null, "mappings": null,
      "norm_mappings": null, "transform_config": null, "seed": null, "compat": null})"));
}

TEST(SpinQuantModifier, EqualsLlmCompressorWhenToldTo) {
  for (const std::string model : {"llama", "llama_tied"}) {
    for (const std::string type : {"hadamard", "random-hadamard"}) {
      const Result result = run(recipe_of("compat: llm-compressor, transform_type: " + type), llama(model));
      const auto expected = golden::matrices("recipe/" + model + "-" + type + ".safetensors");
      EXPECT_EQ(result.plan.tensors().size(), expected.size());
      for (const TensorPlan& tensor : result.plan.tensors()) {
        // Both sides compute in float64, on weights of size 1, in another order: a few times 2^-53 a step.
        EXPECT_LT(golden::distance(golden::evaluate(result.plan, tensor), expected.at(tensor.name)), 1e-14)
            << model << " " << type << " " << tensor.name;
      }
    }
  }
}

TEST(SpinQuantModifier, PreparesTheModelForR1OrWhenItCentres) {
  struct Row {
    const char* arguments;
    bool folds, centers, r1, r2;
  };
  const Row rows[] = {
      {"", true, false, true, true},
      {"rotations: [R1]", true, false, true, false},
      {"rotations: [r2, R2]", false, false, false, true},
      {"rotations: []", true, false, false, false},
      {"rotations: [R2], center_embeddings: true", true, true, false, true},
      {"rotations: [R2], compat: llm-compressor", true, true, false, true},
      {"rotations: [R2, R1], norm_mappings: [{norm: model.norm, linears: lm_head}, "
       "{norm: 're:.*input_layernorm$', linears: ['re:.*q_proj$', 're:.*k_proj$', 're:.*v_proj$']}, "
       "{norm: 're:.*post_attention_layernorm$', linears: ['re:.*up_proj$', 're:.*gate_proj$']}]",
       true, false, true, true},
  };
  for (const Row& row : rows) {
    const Result result = run(recipe_of(row.arguments), llama("llama_tied"));
    const RewritePlan& plan = result.plan;
    EXPECT_EQ(plan.untied(), row.folds) << row.arguments;
    EXPECT_EQ(has_edit<FoldNorm>(plan, kQ), row.folds) << row.arguments;
    EXPECT_EQ(has_edit<Fill>(plan, "model.norm.weight"), row.folds) << row.arguments;
    EXPECT_EQ(has_edit<CenterRows>(plan, kEmbedding), row.centers) << row.arguments;
    EXPECT_EQ(has_edit<MultiplyRight>(plan, kEmbedding), row.r1) << row.arguments;
    EXPECT_EQ(has_edit<MultiplyLeft>(plan, kV), row.r2) << row.arguments;
    EXPECT_TRUE(result.warnings.empty()) << row.arguments;
  }
}

TEST(SpinQuantModifier, TheOrderOfRotationsDoesNotMatter) {
  const Model model = llama();
  const Result one = run(recipe_of("rotations: [R1, R2], transform_type: random-hadamard"), model);
  const Result other = run(recipe_of("rotations: [r2, R1, r1, R2], transform_type: random-hadamard"), model);
  EXPECT_EQ(distance(one.plan, other.plan), 0);
}

TEST(SpinQuantModifier, ItsSavedRecipeGivesTheSameResultAgain) {
  const char* const mappings =
      "mappings: {embedding: model.embed_tokens, attn_q: 're:.*q_proj$', attn_k: 're:.*k_proj$', attn_v: "
      "'re:.*v_proj$', "
      "attn_o: 're:.*o_proj$', mlp_in: ['re:.*up_proj$', 're:.*gate_proj$'], mlp_out: 're:.*down_proj$', "
      "lm_head: lm_head, attn_head_dim: 2}";
  const std::string rows[] = {"",
                              "rotations: [R2]",
                              "rotations: []",
                              "rotations: [R1], transform_block_size: 4, start: 0",
                              "transform_type: random-hadamard, seed: 7, randomize: true",
                              "transform_type: random-orthogonal, precision: float32, center_embeddings: true",
                              "transform_type: random-matrix, compat: llm-compressor",
                              "rotations: [R2], transform_type: random-matrix",
                              "rotations: [R1, R3, R4], transform_type: random-hadamard, seed: 3",
                              mappings};
  for (const std::string& row : rows) {
    for (const char* name : {"llama", "llama_tied"}) {
      const Model model = llama(name);
      const Result first = run(recipe_of(row), model), second = run(first.yaml, model);
      EXPECT_EQ(second.plan.text(true), first.plan.text(true)) << row;
      EXPECT_EQ(second.plan.precision(), first.plan.precision()) << row;
      EXPECT_EQ(distance(first.plan, second.plan), 0) << row;
      EXPECT_EQ(second.yaml, first.yaml) << row;
    }
  }
}

TEST(SpinQuantModifier, ReadsAndRunsRecipesSavedByLlmCompressor) {
  const Model model = llama();
  const Result expected = run(recipe_of("transform_type: random-hadamard"), model);
  Recipe saved = Recipe::load(golden::path("recipe/spinquant.yaml"));
  RewritePlan plan(model);
  run_recipe(saved, model, plan);
  EXPECT_EQ(distance(plan, expected.plan), 0);

  Recipe merged = Recipe::load(golden::path("recipe/merged.yaml"));
  ASSERT_EQ(merged.steps().size(), 2U);
  RewritePlan twice(model);
  run_recipe(merged, model, twice);
  EXPECT_EQ(golden::tensor(twice, kV).edits.size(), golden::tensor(plan, kV).edits.size() + 1) << "a second R2";
}

TEST(SpinQuantModifier, ATransformConfigReplacesTheRotationsButNotTheNorms) {
  const Model model = llama("llama_tied");
  const std::string config =
      "rotations: [R1], transform_type: random-matrix, transform_config: {config_groups: {mine: {type: hadamard, "
      "head_dim: 4, "
      "apply: [{targets: 're:.*v_proj$', location: weight_output}, {targets: 're:.*o_proj$', location: weight_input, "
      "inverse: true}]}}}";
  const Result result = run(recipe_of(config), model);
  EXPECT_FALSE(has_edit<MultiplyRight>(result.plan, kEmbedding));
  EXPECT_TRUE(has_edit<MultiplyLeft>(result.plan, kV));
  EXPECT_TRUE(has_edit<FoldNorm>(result.plan, kQ));
  EXPECT_TRUE(result.plan.untied());
  EXPECT_FALSE(has_edit<CenterRows>(result.plan, kEmbedding));
  EXPECT_TRUE(has_edit<CenterRows>(run(recipe_of("center_embeddings: true, " + config), model).plan, kEmbedding));
  const RewritePlan unfolded = run(recipe_of("norm_mappings: [], " + config), model).plan;
  EXPECT_FALSE(has_edit<FoldNorm>(unfolded, kQ));
  EXPECT_FALSE(unfolded.untied());
}

TEST(SpinQuantModifier, R3AndR4ActWhileTheModelRuns) {
  const std::string type = "transform_type: random-hadamard, rotations: ";
  const RewritePlan plan = run(recipe_of(type + "[r4, R3, R2, R1]"), llama()).plan;
  std::vector<std::string> online;
  for (const OnlineTransform& one : plan.online())
    online.push_back(one.module + " " + one.group + " " + std::string(name_of(one.location)));
  std::vector<std::string> expected;
  for (const char* location : {"q_attn", "k_cache"})
    for (const char* layer : {"0", "1"})
      expected.push_back(std::string("model.layers.") + layer + ".self_attn R3 " + location);
  for (const char* layer : {"0", "1"})
    expected.push_back(std::string("model.layers.") + layer + ".mlp.down_proj R4 input");
  EXPECT_EQ(online, expected);
  EXPECT_EQ(golden::tensor(plan, "model.layers.0.mlp.down_proj.weight").edits.size(), 2U) << "R1 and R4";
  EXPECT_EQ(plan.transform_config()["config_groups"].size(), 4U);
  EXPECT_EQ(run(recipe_of(type + "[R4]"), llama("llama_tied")).plan.untied(), false) << "only R1 needs that";
}

TEST(SpinQuantModifier, ATransformConfigMayActWhileTheModelRunsIfItCancels) {
  const std::string pair =
      "transform_config: {config_groups: {v: {type: hadamard, head_dim: 4, apply: [{targets: Linear, location: input}, "
      "{targets: Linear, location: weight_input, inverse: true}]}}}";
  EXPECT_EQ(run(recipe_of(pair), llama()).plan.online().size(), 15U);
  const std::string half =
      "transform_config: {config_groups: {v: {type: hadamard, head_dim: 4, apply: [{targets: "
      "Linear, location: input}]}}}";
  EXPECT_NE(message_of([&] { run(recipe_of(half), llama()); }).find("q_proj.weight"), std::string::npos);
}

TEST(SpinQuantModifier, ItsSeedIsThatOfEveryGroup) {
  const Model model = llama();
  const std::string type = "transform_type: random-hadamard";
  const Result usual = run(recipe_of(type), model), peer = run(recipe_of(type + ", seed: 67280421310721"), model),
               other = run(recipe_of(type + ", seed: 1"), model);
  EXPECT_EQ(distance(usual.plan, peer.plan), 0);
  EXPECT_GT(distance(usual.plan, other.plan), 0.01);
}

TEST(SpinQuantModifier, APlanThatDoesNotCancelIsRefusedAndLeftAlone) {
  const Model model = llama();
  RewritePlan plan(model);
  Recipe recipe = Recipe::parse(
      recipe_of("transform_config: {config_groups: {half: {type: hadamard, apply: [{targets: "
                "['re:.*embed_tokens$', 're:.*o_proj$', 're:.*down_proj$'], location: weight_output}]}}}"),
      "recipe.yaml");
  EXPECT_NE(message_of([&] { run_recipe(recipe, model, plan); }).find("does not undo"), std::string::npos);
  EXPECT_EQ(plan.text(true), RewritePlan(model).text(true));

  const std::string no_gate =
      "mappings: {embedding: 're:.*embed_tokens$', attn_q: 're:.*q_proj$', attn_k: 're:.*k_proj$', attn_v: "
      "'re:.*v_proj$', "
      "attn_o: 're:.*o_proj$', mlp_in: 're:.*up_proj$', mlp_out: 're:.*down_proj$', lm_head: lm_head}";
  EXPECT_NE(message_of([&] { run(recipe_of(no_gate), model); }).find("gate_proj.weight: does not undo"),
            std::string::npos);
}

TEST(SpinQuantModifier, ReadsMappingsOfOneOrMany) {
  const Json one = SpinQuantModifier(read_fields<SpinQuantArguments>(
                                         Json::parse(R"({"norm_mappings": [{"norm": "n", "linears": "q"}], "mappings":
      {"embedding": "e", "attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_o": "o", "mlp_in": "u", "mlp_out": ["d"],
       "lm_head": "h"}})"),
                                         {"", ""}))
                       .arguments();
  EXPECT_EQ(one["norm_mappings"], Json::parse(R"([{"norm": "n", "linears": ["q"]}])"));
  EXPECT_EQ(one["mappings"], Json::parse(R"({"embedding": "e", "attn": "re:.*self_attn$", "attn_q": "q", "attn_k": "k",
      "attn_v": "v", "attn_o": "o", "attn_head_dim": null, "mlp_in": ["u"], "mlp_out": ["d"], "lm_head": "h"})"));
}

TEST(SpinQuantModifier, NormMappingsThatFoldTooLittleOrTooMuchAreRefused) {
  const std::pair<std::string, std::string> rows[] = {
      {"{norm: model.norm, linears: []}",
       "lm_head.weight: reads through model.norm.weight, which is folded into other linears only"},
      {"{norm: 're:.*input_layernorm$', linears: ['re:.*q_proj$', 're:.*v_proj$']}",
       "model.layers.0.self_attn.k_proj.weight: reads through model.layers.0.input_layernorm.weight, which is folded "
       "into "
       "other linears only"},
      {"{norm: 're:.*input_layernorm$', linears: ['re:.*[qkv]_proj$', 're:.*o_proj$']}",
       "model.layers.0.self_attn.o_proj.weight: does not read through model.layers.0.input_layernorm.weight, which a "
       "norm "
       "mapping folds into it"},
      {"{norm: 're:.*post_attention_layernorm$', linears: 're:.*[qkv]_proj$'}", "does not read through"},
  };
  for (const auto& [mapping, message] : rows) {
    const std::string got =
        message_of([&] { run(recipe_of("rotations: [], norm_mappings: [" + mapping + "]"), llama()); });
    EXPECT_NE(got.find(message), std::string::npos) << got;
  }
}

TEST(SpinQuantModifier, RandomMatrixIsRefusedAsR1) {
  const std::string message = message_of([] { run(recipe_of("transform_type: random-matrix"), llama()); });
  EXPECT_EQ(message,
            "R1: random-matrix is not orthogonal, so the model would compute something else; "
            "use --transform-type random-orthogonal by command, transform_type: random-orthogonal in a recipe");
  EXPECT_NO_THROW(run(recipe_of("transform_type: random-matrix, rotations: [R2]"), llama()));
  EXPECT_NO_THROW(run(recipe_of("transform_type: random-matrix, compat: llm-compressor"), llama()));
}

TEST(SpinQuantModifier, PrecisionIsThatOfThePlan) {
  const std::pair<const char*, Precision> rows[] = {{"float64", Precision::float64},
                                                    {"torch.float64", Precision::float64},
                                                    {"double", Precision::float64},
                                                    {"float32", Precision::float32},
                                                    {"torch.float", Precision::float32}};
  for (const auto& [name, precision] : rows) {
    EXPECT_EQ(run(recipe_of(std::string("precision: ") + name), llama()).plan.precision(), precision) << name;
  }
  const Result twice = run(
      recipe_of("") + "c_stage: {d_modifiers: {SpinQuantModifier: {rotations: [R2], precision: float32}}}", llama());
  EXPECT_EQ(twice.plan.precision(), Precision::float64) << "never less than asked";
}

TEST(SpinQuantModifier, RefusesArgumentsByLineAndName) {
  const std::string config = "transform_config: {config_groups: {g: {type: hadamard, ";
  const std::pair<std::string, std::string> rows[] = {
      {"rotations: R1", "recipe.yaml:4: SpinQuantModifier.rotations must be a list, not \"R1\""},
      {"rotations: null", "recipe.yaml:4: SpinQuantModifier.rotations must be a list, not null"},
      {"rotations: [R1, 2]", "recipe.yaml:4: SpinQuantModifier.rotations[1] must be a string, not 2"},
      {"rotations: [R5]",
       "recipe.yaml:4: SpinQuantModifier.rotations[0] must be one of R1, R2, R3, R4, not 'R5'; did you mean 'R1'?"},
      {"transform_type: Hadamard", "recipe.yaml:4: no transform type is called 'Hadamard'; did you mean 'hadamard'?"},
      {"learnable: 1", "recipe.yaml:4: SpinQuantModifier.learnable must be true or false, not 1"},
      {"seeds: 0", "recipe.yaml:4: seeds must be at least 1"},
      {"seeds: 2",
       "recipe.yaml:4: seeds are of types that are drawn, and hadamard is not; use transform_type: random-hadamard"},
      {"learning: {steps: 0}", "recipe.yaml:4: SpinQuantModifier.learning.steps must be at least 1, not 0"},
      {"learning: {scales: [q]}", "recipe.yaml:4: 'q' is nothing that can be learned; known: m, k, v"},
      {"randomize: 1", "recipe.yaml:4: SpinQuantModifier.randomize must be true or false, not 1"},
      {"precision: bfloat16",
       "recipe.yaml:4: SpinQuantModifier.precision: weights cannot be transformed in torch.bfloat16; use float64 or "
       "float32"},
      {"transform_block_size: 2.0",
       "recipe.yaml:4: SpinQuantModifier.transform_block_size must be an integer, not 2.0"},
      {"seed: -1", "recipe.yaml:4: SpinQuantModifier.seed must be an integer from 0 on, not -1"},
      {"compat: vllm", "recipe.yaml:4: SpinQuantModifier.compat must be one of llm-compressor, not 'vllm'"},
      {"mappings: {embedding: a}", "recipe.yaml:4: missing key 'attn_q' in SpinQuantModifier.mappings"},
      {"mappings: {embedding: e, attn_q: q, attn_k: k, attn_v: v, attn_o: o, mlp_in: u, mlp_out: d}",
       "recipe.yaml:4: missing key 'lm_head' in SpinQuantModifier.mappings"},
      {"mappings: {embedding: e, attn_q: q, attn_k: k, attn_v: v, attn_o: o, mlp_in: u, mlp_out: d, lm_head: null}",
       "recipe.yaml:4: SpinQuantModifier.mappings.lm_head must be a string, not null"},
      {"norm_mappings: [{norm: a}]", "recipe.yaml:4: missing key 'linears' in SpinQuantModifier.norm_mappings[0]"},
      {"norm_mappings: [{norm: a, linear: b}]",
       "recipe.yaml:4: unknown key 'linear' in SpinQuantModifier.norm_mappings[0]; did you mean 'linears'?"},
      {config + "requires_grad: true}}}",
       "recipe.yaml:4: only groups called R1 and R2 are learnable; set requires_grad: false"},
      {config + "apply: [{targets: Linear, location: inputs}]}}}",
       "recipe.yaml:4: SpinQuantModifier.transform_config.config_groups.g.apply[0].location must be one of input, "
       "weight_input, output, weight_output, k_cache, q_attn, not 'inputs'; did you mean 'input'?"},
  };
  for (const auto& [arguments, message] : rows) {
    EXPECT_EQ(message_of([&] { Recipe::parse(recipe_of(arguments), "recipe.yaml"); }), message) << arguments;
  }
}

TEST(SpinQuantModifier, RefusesArgumentsOfAProgram) {
  EXPECT_EQ(
      message_of([] { run(recipe_of("learnable: true"), llama()); }),
      "SpinQuantModifier: learnable: true takes a text to learn from; give --calibration FILE to rotate, quantize "
      "or compare");
  EXPECT_EQ(message_of([] { run(recipe_of("seeds: 2, transform_type: random-hadamard"), llama()); }),
            "SpinQuantModifier: seeds takes a text to choose one by; give --calibration FILE to rotate, quantize or "
            "compare");
  EXPECT_EQ(message_of([] { SpinQuantModifier({.transform_type = "walsh"}); }),
            "SpinQuantModifier: no transform type is called 'walsh'; known: hadamard, random-hadamard, random-matrix, "
            "random-orthogonal");
}

TEST(SpinQuantModifier, NamesRandomHadamardWhereHadamardDoesNotExist) {
  const std::string message = message_of([] { run(recipe_of("rotations: [R1], transform_block_size: 3"), llama()); });
  EXPECT_NE(message.find("model.embed_tokens.weight: R1: blocks of 3 do not divide"), std::string::npos) << message;
}

}  // namespace
}  // namespace spinor::spinquant_modifier_test
