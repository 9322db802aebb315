// What a program adds to a recipe of SpinQuantModifier: options, operations, iterators, mappings.
#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/base/testing.h"
#include "spinor/modifier/spinquant_modifier.h"
#include "spinor/modifier/testing.h"
#include "spinor/transform/auto_operation.h"
#include "spinor/transform/factory.h"
#include "spinor/transform/norm_linear_iterator.h"

namespace spinor::program_operations_test {
namespace {

using testing::distance;
using testing::has_edit;
using testing::llama;
using testing::message_of;
using testing::recipe_of;
using testing::Result;
using testing::run;

constexpr const char* kV = "model.layers.1.self_attn.v_proj.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

// A recipe and a program say the same in two ways.
TEST(SpinQuantOfAProgram, DoesWhatRotateModelDoes) {
  const std::vector<Spin> all = {Spin::R1, Spin::R2, Spin::R3, Spin::R4};
  const std::pair<std::string, RotateOptions> rows[] = {
      {"", {}},
      {"transform_type: random-hadamard, seed: 7, randomize: true, rotations: [R1, R2, R3, R4]",
       {.spin = {.rotations = all, .transform_type = "random-hadamard", .randomize = true, .seed = 7}}},
      {"rotations: [R2], transform_type: random-matrix, precision: float32",
       {.spin = {.rotations = {Spin::R2}, .transform_type = "random-matrix", .precision = Precision::float32}}},
      {"rotations: []", {.spin = {.rotations = {}}}},
      {"compat: llm-compressor, rotations: [R2]",
       {.spin = {.rotations = {Spin::R2}, .llm_compressor_compat = true}, .center_embeddings = true}},
      {"norm_mappings: [], rotations: [R1], transform_block_size: 4, transform_config: {config_groups: {}}",
       {.transform_config = TransformConfig(), .norm_mappings = std::vector<NormMapping>()}},
  };
  for (const char* name : {"llama", "llama_tied", "qwen3"})
    for (const auto& [arguments, options] : rows) {
      const Model model = llama(name);
      RewritePlan plan(model);
      EXPECT_TRUE(rotate_model(model, plan, options).empty());
      const RewritePlan expected = run(recipe_of(arguments), model).plan;
      EXPECT_EQ(plan.text(true), expected.text(true)) << arguments;
      EXPECT_EQ(plan.transform_config(), expected.transform_config()) << arguments;
      EXPECT_EQ(plan.precision(), expected.precision()) << arguments;
      EXPECT_EQ(distance(plan, expected), 0) << arguments;
    }
}

Model with_class(const Model& model, const std::string& name) {
  Json config = model.checkpoint().config();
  config["architectures"] = {name};
  const auto tensors = model.checkpoint().tensors();
  return Model::describe(model.checkpoint().with(config, {tensors.begin(), tensors.end()}), {.accept_unknown = true});
}

TEST(SpinQuantOfAProgram, RunsTheOperationsOfAProgram) {
  const auto operation = [](const Model&, RewritePlan& plan, const RotateOptions& options) {
    Random random(*options.spin.seed);
    const Rotation r2 = find_transform_type(options.spin.transform_type).make({.size = 4}, random);
    AutoOperation::rotate_output(plan, "model.layers.1.self_attn.v_proj", r2, "R2");
    AutoOperation::rotate_input(plan, "model.layers.1.self_attn.o_proj", r2.inverse(), "R2'");
  };
  RotateOperationRegistry::register_operation("RecipeForCausalLM", operation);
  const Model model = with_class(golden::unknown_model("transforms/llama"), "RecipeForCausalLM");
  const std::string arguments = "transform_type: random-hadamard, seed: 5";
  const Result result = run(recipe_of(arguments), model), again = run(result.yaml, model);
  EXPECT_TRUE(has_edit<MultiplyLeft>(result.plan, kV));
  EXPECT_FALSE(has_edit<MultiplyRight>(result.plan, kEmbedding)) << "SpinQuant's own does not run";
  EXPECT_EQ(result.yaml.find("config_groups"), std::string::npos) << result.yaml;
  EXPECT_EQ(again.yaml, result.yaml);
  EXPECT_EQ(distance(again.plan, result.plan), 0);

  for (const char* ignored : {"center_embeddings: true", "norm_mappings: []", "vision: true", "mtp: drop",
                              "transform_config: {config_groups: {}}"}) {
    const std::string key = std::string(ignored).substr(0, std::string(ignored).find(':'));
    EXPECT_EQ(message_of([&] { run(recipe_of(arguments + ", " + ignored), model); }),
              key +
                  ": does nothing for RecipeForCausalLM, a class that the operations rotate which a program "
                  "registered for it; leave it out");
  }
}

// Of a class that has a row they come after SpinQuant's own, and what all did is checked.
TEST(SpinQuantOfAProgram, ChecksWhatAProgramsOperationsDid) {
  const auto half = [](const Model&, RewritePlan& plan, const RotateOptions&) {
    AutoOperation::rotate_output(plan, "model.embed_tokens", Rotation::hadamard(Hadamard::sylvester(8)), "mine");
  };
  Architecture row = *find_architecture("LlamaForCausalLM");
  row.names = {"HalfRecipeForCausalLM"};
  register_architecture(row, "row of the test");
  RotateOperationRegistry::register_operation("HalfRecipeForCausalLM", half);
  const Model model = with_class(llama(), "HalfRecipeForCausalLM");
  EXPECT_NE(message_of([&] { run(recipe_of(""), model); }).find("does not undo the transform of the residual stream"),
            std::string::npos);
}

TEST(SpinQuantOfAProgram, ReadsNormsAsAProgramsIteratorSays) {
  NormLinearIterator::register_iterator(
      {.name = "of the test",
       .supports_model = [](const Model& model) { return model.checkpoint().config().contains("of_the_recipe_test"); },
       .pairs = [](const Model&) { return std::vector<NormLinears>{{"model", "norm", {}}}; }});
  const Model source = llama();
  Json config = source.checkpoint().config();
  config["of_the_recipe_test"] = true;
  const auto tensors = source.checkpoint().tensors();
  const Model model = Model::describe(source.checkpoint().with(config, {tensors.begin(), tensors.end()}));
  EXPECT_EQ(message_of([&] { run(recipe_of(""), model); }),
            "model.norm: of the test does not name the linears that read through it; a norm is folded into all of "
            "those, and into no other");
}

constexpr const char* kNorms =
    "norm_mappings: [{norm: 're:.*input_layernorm$', linears: ['re:.*q_proj$', 're:.*k_proj$', 're:.*v_proj$']}, "
    "{norm: 're:.*post_attention_layernorm$', linears: ['re:.*up_proj$', 're:.*gate_proj$']}, "
    "{norm: model.norm, linears: [lm_head]}]";
constexpr const char* kMapping =
    "mappings: {embedding: 're:.*embed_tokens$', attn_q: 're:.*q_proj$', attn_k: 're:.*k_proj$', attn_v: "
    "'re:.*v_proj$', "
    "attn_o: 're:.*o_proj$', mlp_out: 're:.*down_proj$', lm_head: lm_head, mlp_in: ";

TEST(SpinQuantOfAProgram, AcceptsAnUnknownArchitectureWithBothMappings) {
  const Model unknown = golden::unknown_model("transforms/llama");
  const std::string both = std::string(kNorms) + ", " + kMapping + "['re:.*up_proj$', 're:.*gate_proj$']}";
  const Result result = run(recipe_of(both), unknown);
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_EQ(distance(result.plan, run(recipe_of(""), llama()).plan), 0);

  for (const std::string& one : {std::string(), std::string(kNorms), std::string(kMapping) + "['re:.*up_proj$']}"}) {
    EXPECT_EQ(message_of([&] { run(recipe_of(one), unknown); }).substr(0, 68),
              "UnheardOfForCausalLM: is not an architecture spinor knows; `spinor i");
  }
}

TEST(SpinQuantOfAProgram, WarnsOfEachLinearThatTheMappingsOfAnUnknownArchitectureLeaveOut) {
  const Model unknown = golden::unknown_model("transforms/llama");
  const Result result = run(recipe_of(std::string(kNorms) + ", " + kMapping + "'re:.*up_proj$'}"), unknown);
  ASSERT_EQ(result.warnings.size(), 2U);
  EXPECT_EQ(
      result.warnings[1],
      "model.layers.1.mlp.gate_proj: no mapping names it, so it stays as it is; the result is wrong if it reads or "
      "writes the residual stream");
}

}  // namespace
}  // namespace spinor::program_operations_test
