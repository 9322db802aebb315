#include "spinor/modifier/quantization_modifier.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/modifier/recipe.h"
#include "spinor/plan/testing.h"

namespace spinor::quantization_modifier_test {
namespace {

std::string recipe_of(const std::string& arguments, const std::string& before = "") {
  return "default_stage:\n  default_modifiers:\n" + before + "    QuantizationModifier:\n      " + arguments + "\n";
}

template <typename Work>
std::string message_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class Quantization : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Model model_ = Model::describe(
      Checkpoint::open(testing::write_model(directory_ / "model", {.hidden = 128, .intermediate = 256, .tied = true})));
  std::vector<std::string> warnings_;

  RewritePlan run(const std::string& text) {
    Recipe recipe = Recipe::parse(text, "recipe.yaml");
    RewritePlan plan(model_);
    warnings_ = run_recipe(recipe, model_, plan);
    return plan;
  }
  static const std::vector<Edit>& edits(const RewritePlan& plan, const std::string& name) {
    for (const TensorPlan& tensor : plan.tensors())
      if (tensor.name == name) return tensor.edits;
    throw std::out_of_range(name);
  }
};

TEST_F(Quantization, QuantizesTheTargetsAndSaysWhatItLeftOut) {
  const RewritePlan plan = run(recipe_of("{scheme: w4a16, ignore: [lm_head, 're:.*layers.1.*'], targets: Linear}"));
  ASSERT_EQ(edits(plan, "model.layers.0.mlp.down_proj.weight").size(), 1u);
  EXPECT_TRUE(edits(plan, "model.layers.1.mlp.down_proj.weight").empty());
  ASSERT_TRUE(plan.quantization());
  EXPECT_EQ(plan.quantization()->ignore.size(), 8u);  // seven linears of layer 1, and lm_head
  EXPECT_EQ(plan.quantization()->ignore.back(), "lm_head");
  EXPECT_EQ(plan.quantization()->config_groups[0].second.weights->observer, "memoryless_minmax");
  EXPECT_EQ(plan.config()["quantization_config"]["config_groups"]["group_0"]["format"], "pack-quantized");
  EXPECT_FALSE(plan.untied());
}

TEST_F(Quantization, GroupsAreThoseThatModulesMeetInTheirOrder) {
  const RewritePlan plan =
      run(recipe_of("{config_groups: {late: {targets: ['re:.*mlp.*'], weights: {num_bits: 4, group_size: 32}}, "
                    "early: {targets: ['re:.*self_attn.*'], weights: {num_bits: 8, strategy: channel}}, "
                    "exact: {targets: [model.layers.0.mlp.down_proj], weights: {num_bits: 3, group_size: 64}}}}"));
  const auto& groups = plan.quantization()->config_groups;
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].second.weights->num_bits, 8);
  EXPECT_EQ(groups[1].second.weights->num_bits, 4);
  EXPECT_EQ(groups[2].second.weights->num_bits, 3);  // a name comes before a regex
  EXPECT_EQ(groups[2].first, "group_2");
}

TEST_F(Quantization, WarnsOfIgnoreEntriesThatMatchNothing) {
  run(recipe_of("{scheme: W8A8, ignore: [lm_head, router]}"));
  EXPECT_EQ(warnings_, (std::vector<std::string>{"ignore: no module matches 'router'"}));
}

TEST_F(Quantization, DenseFormatRotatesBackWhatWouldRunOnline) {
  const std::string quip = "    QuIPModifier:\n      {rotations: [v, u], transform_block_size: 16}\n";
  const RewritePlan plan = run(recipe_of("{scheme: W4A16, ignore: lm_head, format: dense}", quip));
  EXPECT_TRUE(plan.online().empty());
  EXPECT_FALSE(plan.quantization());
  EXPECT_FALSE(plan.config().contains("quantization_config"));
  const std::vector<Edit>& down = edits(plan, "model.layers.0.mlp.down_proj.weight");
  ASSERT_EQ(down.size(), 5u);  // v, u, quantize and dequantize, v', u'
  EXPECT_TRUE(std::holds_alternative<QuantizeDequantize>(down[2]));
}

TEST_F(Quantization, RotatingWhatIsQuantizedIsAnError) {
  const std::string text =
      "a_stage:\n  a_modifiers:\n    QuantizationModifier: {scheme: W4A16, ignore: lm_head}\n"
      "    SpinQuantModifier: {rotations: [R1]}\n";
  EXPECT_EQ(
      message_of([&] { run(text); }),
      "model.layers.0.self_attn.q_proj.weight: was quantized by an earlier modifier and cannot be edited any more; "
      "put what rotates before what quantizes");
}

TEST_F(Quantization, ItsTransformConfigActsBeforeTheObserver) {
  const RewritePlan plan = run(recipe_of(
      "{scheme: W8A8, ignore: lm_head, transform_config: {config_groups: {v: {type: hadamard, head_dim: 32, apply: "
      "[{targets: Linear, location: input, ignore: lm_head}, "
      "{targets: Linear, location: weight_input, inverse: true, ignore: lm_head}]}}}}"));
  const std::vector<Edit>& down = edits(plan, "model.layers.0.mlp.down_proj.weight");
  ASSERT_EQ(down.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<MultiplyRight>(down[0]));
  EXPECT_TRUE(std::holds_alternative<Quantize>(down[1]));
  EXPECT_EQ(plan.online().size(), 14u);
}

TEST(QuantizationModifier, RefusesWithTheLineAndTheReason) {
  const std::pair<std::string, std::string> rows[] = {
      {"{scheme: W4A61}", "recipe.yaml:4: no preset scheme is called 'W4A61'; did you mean 'W4A16'?"},
      {"{shceme: W4A16}", "recipe.yaml:4: unknown key 'shceme' in QuantizationModifier; did you mean 'scheme'?"},
      {"{ignore: lm_head}",
       "recipe.yaml:3: says neither scheme nor config_groups nor kv_cache_scheme; write scheme: W4A16, or another "
       "preset"},
      {"{scheme: W4A16, config_groups: {a: {targets: Linear}}}",
       "recipe.yaml:4: scheme and config_groups exclude each other; give one of them"},
      {"{scheme: W4A16, observer: mes}", "recipe.yaml:3: no observer is called 'mes'; did you mean 'mse'?"},
      {"{scheme: W4A16, observer: {weights: imatrix_mse}, format: dense}",
       "recipe.yaml:3: format: dense is not supported with imatrix_mse yet; leave the format (--format by command) "
       "out, then run spinor "
       "dequantize"},
      {"{scheme: W4A16, weight_observer: mse, observer: {weights: mse}}",
       "recipe.yaml:4: observer and weight_observer, input_observer or output_observer say the same; give one of them"},
      {"{config_groups: {a: {targets: Linear, weights: {num_bits: 4, group_size: 32, strategy: channel}}}}",
       "recipe.yaml:4: group_size needs the strategy group; remove one of the two"},
      {"{config_groups: {a: {targets: Linear, wieghts: {}}}}",
       "recipe.yaml:4: unknown key 'wieghts' in QuantizationModifier.config_groups.a; did you mean 'weights'?"},
      {"{scheme: MXFP6A16}", "recipe.yaml:3: the format mxfp6-pack-quantized is not supported yet"},
  };
  for (const auto& [arguments, message] : rows)
    EXPECT_EQ(message_of([&] { Recipe::parse(recipe_of(arguments), "recipe.yaml"); }), message) << arguments;
}

TEST_F(Quantization, AsksForDataWhereInputsWeigh) {
  const RewritePlan plan = run(recipe_of("{scheme: W4A16, weight_observer: imatrix_mse, ignore: [lm_head]}"));
  EXPECT_EQ(plan.needs_data(), "model.layers.0.self_attn.q_proj.weight");
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(Quantization, SaysWhereInputsCannotWeigh) {
  const auto embedding = [](const char* strategy, const char* more) {
    return recipe_of(
        std::string("{config_groups: {g: {targets: [Linear, Embedding], weights: {num_bits: 8, strategy: ") + strategy +
        ", observer: imatrix_mse" + more + "}}}}");
  };
  EXPECT_EQ(run(embedding("tensor", "")).needs_data(), "");
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_EQ(warnings_[0],
            "g: imatrix_mse weighs inputs where each row has scales of its own; use mse, or strategy: channel or group "
            "(all count the same now)");
  EXPECT_NE(run(embedding("channel", "")).needs_data(), "");
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_EQ(
      warnings_[0],
      "model.embed_tokens: imatrix_mse weighs inputs of linears; use mse for embeddings (all count the same now)");
  EXPECT_EQ(
      message_of([&] { run(embedding("channel", ", observer_kwargs: {strict: true}")); }),
      "model.embed_tokens: is an embedding, without inputs that weigh, and its imatrix observer is strict; give it "
      "another observer, or leave strict out");
  run(
      recipe_of("{scheme: FP8, ignore: [lm_head], input_observer: imatrix_mse, kv_cache_scheme: "
                "{num_bits: 8, type: float, strategy: tensor, dynamic: false, observer: imatrix_mse}}"));
  ASSERT_EQ(warnings_.size(), 2u);
  EXPECT_EQ(
      warnings_[0],
      "group_0: imatrix_mse weighs inputs of weights alone; use minmax or mse for activations (all count the same "
      "now)");
  EXPECT_EQ(warnings_[1].substr(0, 28), "kv_cache_scheme: imatrix_mse");
}

// A second modifier, of other modules.
std::string two(const std::string& first, const std::string& second) {
  return recipe_of(second, "    GPTQModifier:\n      " + first + "\n");
}

TEST_F(Quantization, ModifiersShareOneConfig) {
  const RewritePlan plan =
      run(two("{scheme: W4A16, targets: ['re:.*mlp.*'], kv_cache_scheme: {num_bits: 8, type: float, "
              "strategy: tensor, dynamic: true}}",
              "{scheme: W8A8, targets: [Linear], ignore: ['re:.*mlp.*', lm_head]}"));
  const QuantizationConfig& config = *plan.quantization();
  ASSERT_EQ(config.config_groups.size(), 2u);
  EXPECT_EQ(config.config_groups[0].second.format, "pack-quantized");
  EXPECT_EQ(config.config_groups[1].second.format, "int-quantized");
  EXPECT_EQ(config.ignore, std::vector<std::string>{"lm_head"});
  EXPECT_TRUE(config.kv_cache_scheme);
  EXPECT_EQ(quantized_modules(config, model_).size(), 14u);
}

TEST_F(Quantization, ConfigNamesWhatItsTargetsDoNotMean) {
  const std::string linears = "{scheme: W8A8, targets: [Linear, Embedding], ignore: [model.embed_tokens]}";
  const RewritePlan plan = run(recipe_of(linears));
  // vLLM would take the embedding by its class, whatever `ignore` says: the targets that are written do not mean it.
  EXPECT_EQ(quantized_modules(*plan.quantization(), model_).size(), 15u);
  // Another modifier may then take it.
  const RewritePlan both = run(two(linears, "{scheme: W8A16, targets: [model.embed_tokens]}"));
  EXPECT_TRUE(both.quantization()->ignore.empty());
}

TEST_F(Quantization, ModifiersMustTellTheirModulesApart) {
  const std::string first = "{scheme: W4A16, ignore: ['re:.*attn.*', lm_head]}";
  EXPECT_EQ(message_of([&] { run(two(first, "{scheme: W8A8, ignore: ['re:.*mlp.*', lm_head]}")); }),
            "recipe.yaml: config.json cannot say which scheme model.layers.0.mlp.gate_proj has: other modules have the "
            "same targets; give each group, and each modifier, targets of its own: names or re: regexes");
  const std::string taken = "recipe.yaml: model.layers.0.mlp.gate_proj is quantized by another modifier already";
  EXPECT_EQ(message_of([&] { run(two(first, "{scheme: W8A8, targets: ['re:.*mlp.*']}")); }),
            taken + "; name it in ignore of one of them");
  const std::string dense = recipe_of("{scheme: W8A16, format: dense, targets: ['re:.*mlp.*']}");
  EXPECT_EQ(message_of([&] { run(dense + "  more_modifiers: {GPTQModifier: {scheme: W4A16, ignore: [lm_head]}}\n"); }),
            taken + "; name it in ignore of one of them");
}

TEST_F(Quantization, RefusesTargetsThatMatchNothing) {
  EXPECT_EQ(message_of([&] { run(recipe_of("{scheme: W4A16, targets: [Lnear]}")); }),
            "recipe.yaml: no module of the model matches the target 'Lnear'");
}

TEST_F(Quantization, ASavedRecipeMakesTheSamePlan) {
  const std::string quip = "    QuIPModifier:\n      {rotations: [V], transform_block_size: 32, seed: 5}\n";
  Recipe recipe = Recipe::parse(recipe_of("{scheme: {W4A16: ['re:.*mlp.*'], W8A8: ['re:.*attn.*']}}", quip), "r");
  RewritePlan plan(model_);
  run_recipe(recipe, model_, plan);
  const RewritePlan again = run(recipe.yaml());
  EXPECT_EQ(again.text(true), plan.text(true));
  EXPECT_EQ(again.config(), plan.config());
}

}  // namespace
}  // namespace spinor::quantization_modifier_test
