#include "spinor/transform/norm_linear_iterator.h"

#include <gtest/gtest.h>

#include "spinor/io/testing.h"
#include "spinor/transform/fold.h"
#include "tests/golden/golden.h"

namespace spinor::norm_linear_iterator_test {
namespace {

using testing::message_of;

// The tests of this file that register something mean a model class of their own.
Model model_of_class(const std::string& name) {
  const Model unknown = golden::unknown_model("transforms/llama");
  Json config = unknown.checkpoint().config();
  config["architectures"] = {name};
  const auto tensors = unknown.checkpoint().tensors();
  return Model::describe(unknown.checkpoint().with(config, {tensors.begin(), tensors.end()}), {.accept_unknown = true});
}

NormLinearIterator iterator_for(const std::string& model_class, std::vector<NormLinears> pairs) {
  return {.name = "the test's iterator",
          .supports_model = [model_class](const Model& model) { return is_instance(model, model_class); },
          .pairs = [pairs](const Model&) { return pairs; }};
}

TEST(NormLinearIterator, OfAKnownArchitectureIsItsRow) {
  const Model model = golden::model("transforms/qwen3");
  const std::vector<NormLinears> pairs = NormLinearIterator::of(model).pairs(model);
  ASSERT_EQ(pairs.size(), 5u);
  EXPECT_EQ(pairs[0].father, "model.layers.0");
  EXPECT_EQ(pairs[0].norm_name, "input_layernorm");
  EXPECT_EQ(pairs[0].linears,
            (std::vector<std::string>{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
                                      "model.layers.0.self_attn.v_proj"}));
  EXPECT_EQ(pairs[1].norm_name, "post_attention_layernorm");
  EXPECT_EQ(pairs[4].father, "model");
  EXPECT_EQ(pairs[4].norm_name, "norm");
  EXPECT_EQ(pairs[4].linears, std::vector<std::string>{"lm_head"});
}

TEST(FuseLayerNorms, FoldsWhatFoldNormsFolds) {
  for (const char* name : {"transforms/llama", "transforms/llama_tied", "transforms/qwen3"}) {
    const Model model = golden::model(name);
    RewritePlan fused(model), folded(model);
    fused.untie();
    folded.untie();
    fuse_layer_norms(model, fused);
    fold_norms(model, folded);
    EXPECT_EQ(fused.text(true), folded.text(true));
  }
}

TEST(FuseLayerNorms, NeedsAnIteratorForAnUnknownClass) {
  const Model model = model_of_class("NobodysForCausalLM");
  RewritePlan plan(model);
  const std::string message = message_of([&] { fuse_layer_norms(model, plan); });
  EXPECT_TRUE(message.starts_with("NobodysForCausalLM: no NormLinearIterator supports this model")) << message;
  EXPECT_NE(message.find("NormLinearIterator::register_iterator"), std::string::npos);
}

TEST(FuseLayerNorms, TakesTheFirstIteratorThatSupportsTheModel) {
  NormLinearIterator::register_iterator(iterator_for("FirstForCausalLM", {{"model", "norm", {"lm_head"}}}));
  NormLinearIterator::register_iterator(iterator_for("FirstForCausalLM", {}));
  const Model model = model_of_class("FirstForCausalLM");
  RewritePlan plan(model);
  fuse_layer_norms(model, plan);
  EXPECT_TRUE(std::holds_alternative<FoldNorm>(golden::tensor(plan, "lm_head.weight").edits.at(0)));
  EXPECT_TRUE(std::holds_alternative<Fill>(golden::tensor(plan, "model.norm.weight").edits.at(0)));
  EXPECT_TRUE(golden::tensor(plan, "model.layers.0.mlp.up_proj.weight").edits.empty());
}

Model llama_with(const std::string& key) {
  const Model llama = golden::model("transforms/llama");
  Json config = llama.checkpoint().config();
  config[key] = true;
  const auto tensors = llama.checkpoint().tensors();
  return Model::describe(llama.checkpoint().with(config, {tensors.begin(), tensors.end()}));
}

void register_for(const std::string& key, const std::vector<NormLinears>& pairs) {
  NormLinearIterator::register_iterator(
      {.name = "of the test",
       .supports_model = [key](const Model& model) { return model.checkpoint().config().contains(key); },
       .pairs = [pairs](const Model&) { return pairs; }});
}

// A class of one's own that the table knows is one's own all the same.
TEST(FuseLayerNorms, PrefersAProgramsIteratorToTheRow) {
  register_for("of_the_iterator_test", {});
  const Model llama = golden::model("transforms/llama"), model = llama_with("of_the_iterator_test");
  EXPECT_TRUE(NormLinearIterator::of(model).pairs(model).empty());
  EXPECT_FALSE(NormLinearIterator::of(llama).pairs(llama).empty());
}

TEST(FuseLayerNorms, FoldsANormOfAKnownArchitectureIntoItsReadersOnly) {
  const std::string mlp = "model.layers.0.mlp.", up = mlp + "up_proj", gate = mlp + "gate_proj";
  const std::vector<std::vector<std::string>> wrong = {{up}, {up, gate, "lm_head"}};
  for (const std::vector<std::string>& linears : wrong) {
    const std::string key = "of_the_fold_test" + std::to_string(linears.size());
    register_for(key, {{"model.layers.0", "post_attention_layernorm", linears}});
    const Model model = llama_with(key);
    RewritePlan plan(model);
    EXPECT_EQ(message_of([&] { fuse_layer_norms(model, plan); }),
              "model.layers.0.post_attention_layernorm: of the test does not name the linears that read through it; a "
              "norm is folded into all of those, and into no other");
  }
}

TEST(FuseLayerNorms, RefusesWhatTheModelDoesNotHave) {
  NormLinearIterator::register_iterator(iterator_for("TypoForCausalLM", {{"model", "norm", {"lm_heat"}}}));
  NormLinearIterator::register_iterator(iterator_for("FatherForCausalLM", {{"", "norm", {"lm_head"}}}));
  const auto refusal = [](const Model& model) {
    RewritePlan plan(model);
    return message_of([&] { fuse_layer_norms(model, plan); });
  };
  EXPECT_EQ(refusal(model_of_class("TypoForCausalLM")),
            "lm_heat: is named by the test's iterator, but the model has no such module");
  EXPECT_EQ(refusal(model_of_class("FatherForCausalLM")),
            "norm: is named by the test's iterator, but the model has no such module");
  EXPECT_THROW(NormLinearIterator::register_iterator({}), Error);
}

TEST(IsInstance, KnowsTheClassAndItsParents) {
  const Model qwen = golden::model("transforms/qwen3");
  EXPECT_TRUE(is_instance(qwen, "Qwen3ForCausalLM"));
  EXPECT_TRUE(is_instance(qwen, "PreTrainedModel"));
  EXPECT_FALSE(is_instance(qwen, "Qwen2ForCausalLM"));
}

}  // namespace
}  // namespace spinor::norm_linear_iterator_test
