#include "spinor/transform/fold.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/transform/spinquant.h"
#include "tests/golden/golden.h"

namespace spinor::fold_test {
namespace {

std::string edits_of(const RewritePlan& plan, std::string_view name) {
  const TensorPlan& tensor = golden::tensor(plan, name);
  std::string text;
  for (const Edit& edit : tensor.edits)
    text += text_of(edit, tensor.source->info.rows(), tensor.source->info.cols()) + "|";
  return text;
}

std::string refusal(const std::vector<NormMapping>& mappings) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  try {
    fold_norms(model, plan, mappings);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(FoldNorms, FoldsEveryNormOfTheArchitectureIntoItsReaders) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  fold_norms(model, plan);
  EXPECT_EQ(edits_of(plan, "model.layers.1.self_attn.k_proj.weight"), "fold input_layernorm|");
  EXPECT_EQ(edits_of(plan, "model.layers.0.mlp.gate_proj.weight"), "fold post_attention_layernorm|");
  EXPECT_EQ(edits_of(plan, "lm_head.weight"), "fold norm|");
  EXPECT_EQ(edits_of(plan, "model.norm.weight"), "fill 1|");
  EXPECT_EQ(edits_of(plan, "model.layers.0.self_attn.k_proj.bias"), "");
  EXPECT_EQ(edits_of(plan, "model.layers.0.mlp.down_proj.weight"), "");
}

TEST(FoldNorms, LeavesNormsOfQueriesAndKeysAlone) {
  const Model model = golden::model("transforms/qwen3");
  RewritePlan plan(model);
  fold_norms(model, plan);
  EXPECT_EQ(edits_of(plan, "model.layers.0.self_attn.q_norm.weight"), "");
}

// W diag(g) x = W (g x), with g then 1: the function of the pair stays.
TEST(FoldNorms, MultipliesColumns) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  fold_norms(model, plan);
  const Checkpoint& source = model.checkpoint();
  const auto w = golden::matrix(source, source.at("lm_head.weight")),
             g = golden::matrix(source, source.at("model.norm.weight"));
  const auto folded = golden::evaluate(plan, golden::tensor(plan, "lm_head.weight"));
  const auto one = golden::evaluate(plan, golden::tensor(plan, "model.norm.weight"));
  for (int64_t j = 0; j < w.cols; ++j) {
    EXPECT_EQ(one(0, j), 1);
    for (int64_t i = 0; i < w.rows; ++i) EXPECT_EQ(folded(i, j), w(i, j) * g(0, j));
  }
}

TEST(FoldNorms, DoesTheSameFromMappings) {
  for (const char* name : {"transforms/llama", "transforms/qwen3"}) {
    const Model model = golden::model(name);
    RewritePlan from_row(model), from_mappings(model);
    fold_norms(model, from_row);
    fold_norms(model, from_mappings, infer_norm_mappings(model));
    EXPECT_EQ(from_row.text(true), from_mappings.text(true));
  }
}

TEST(FoldNorms, NeedsMappingsForAnUnknownArchitecture) {
  const Model known = golden::model("transforms/llama"), unknown = golden::unknown_model("transforms/llama");
  RewritePlan expected(known), plan(unknown);
  EXPECT_THROW(fold_norms(unknown, plan), Error);
  fold_norms(known, expected);
  fold_norms(unknown, plan, infer_norm_mappings(known));
  for (const TensorPlan& tensor : plan.tensors())
    EXPECT_EQ(edits_of(plan, tensor.name), edits_of(expected, tensor.name));
}

TEST(FoldNorms, NeedsTheHeadUntied) {
  const Model model = golden::model("transforms/llama_tied");
  RewritePlan tied(model), untied(model);
  EXPECT_THROW(fold_norms(model, tied), Error);
  untied.untie();
  fold_norms(model, untied);
  EXPECT_EQ(edits_of(untied, "lm_head.weight"), "fold norm|");
  EXPECT_EQ(edits_of(untied, "model.embed_tokens.weight"), "");
}

TEST(FoldNorms, RefusesMappingsThatCannotBeMeant) {
  EXPECT_EQ(refusal({{"re:.*no_norm$", {"re:.*nothing$"}}}),
            "re:.*no_norm$: no module of the model matches this norm mapping");
  EXPECT_EQ(refusal({{"re:.*layernorm$", {"re:.*[qkv]_proj$"}}}),
            "model.layers.0.post_attention_layernorm: is a second norm beside model.layers.0.input_layernorm for the "
            "same linears; "
            "write the targets so that one norm matches in each layer");
  EXPECT_EQ(refusal({{"model.norm", {"lm_head"}}, {"model.norm", {"lm_head"}}}),
            "model.norm: is folded already; name each norm in one mapping only");
  EXPECT_EQ(refusal({{"model.norm", {"re:.*1.mlp.down_proj$"}}}),
            "model.layers.1.mlp.down_proj.weight: has 12 columns, but model.norm has 8 elements: it does not read "
            "through it");
  EXPECT_EQ(refusal({{"re:.*self_attn$", {"re:.*q_proj$"}}}),
            "model.layers.0.self_attn: has no weight that could be folded into linears");
  EXPECT_EQ(refusal({{"model.norm", {"model.embed_tokens"}}}),
            "model.embed_tokens: is not a linear, so model.norm cannot be folded into it");
}

TEST(FoldNorms, ComesBeforeRotations) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  plan.edit_weight(*model.head(), MultiplyRight{Rotation::hadamard(Hadamard::sylvester(8)), "R1"});
  EXPECT_THROW(fold_norms(model, plan), Error);
}

TEST(CenterEmbeddings, LeavesRowsOfMeanZero) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  center_embeddings(model, plan, "re:.*embed_tokens$");
  const auto e = golden::evaluate(plan, golden::tensor(plan, "model.embed_tokens.weight"));
  for (int64_t i = 0; i < e.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < e.cols; ++j) sum += e(i, j);
    EXPECT_NEAR(sum, 0, 1e-12);
  }
  EXPECT_THROW(center_embeddings(model, plan, "re:.*wte$"), Error);
  EXPECT_THROW(center_embeddings(model, plan, "lm_head"), Error);
}

TEST(NormMapping, TakesOneStringOrAList) {
  const Place place{"norm_mappings[0]", "recipe.yaml"};
  EXPECT_EQ(read_fields<NormMapping>(Json{{"norm", "n"}, {"linears", "q"}}, place).linears,
            std::vector<std::string>{"q"});
  const Json list = {{"norm", "n"}, {"linears", {"q", "k"}}};
  EXPECT_EQ(write_fields(read_fields<NormMapping>(list, place)), list);
  EXPECT_THROW(read_fields<NormMapping>(Json{{"norm", "n"}}, place), Error);
  EXPECT_THROW(read_fields<NormMapping>(Json{{"linears", "n"}}, place), Error);
  EXPECT_THROW(read_fields<NormMapping>(Json{{"norm", "n"}, {"linears", "q"}, {"bias", 1}}, place), Error);
  EXPECT_THROW(read_fields<NormMapping>(Json{{"norm", {"n"}}, {"linears", "q"}}, place), Error);
}

}  // namespace
}  // namespace spinor::fold_test
