#include "spinor/plan/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "spinor/model/changed_testing.h"
#include "spinor/model/testing.h"

namespace spinor::plan_test {
namespace {

using testing::ArchitectureCase;
using testing::message_of;
using testing::read_architecture_case;
using testing::read_architecture_cases;
using testing::TemporaryDirectory;
using testing::write_checkpoint;

Model make_model(const ArchitectureCase& model) {
  const TemporaryDirectory directory;
  return Model::describe(write_checkpoint(directory.path(), model));
}
Model llama() {
  return make_model(read_architecture_case("llama", "plain"));
}
Model tied_llama() {
  return make_model(read_architecture_case("llama", "tied with biases"));
}

Rotation rotation(int64_t size) {
  Matrix<double> identity(size, size);
  for (int64_t i = 0; i < size; ++i) identity(i, i) = 1;
  return Rotation::dense(std::move(identity), true);
}

const TensorPlan* find(const RewritePlan& plan, std::string_view name) {
  for (const TensorPlan& tensor : plan.tensors())
    if (tensor.name == name) return &tensor;
  return nullptr;
}

// R1 and R2 as a SpinQuant modifier plans them.
RewritePlan spin(const Model& model) {
  RewritePlan plan(model);
  plan.untie();
  for (const NormReads& reads : model.stream().norm_reads) {
    for (const Module* linear : reads.linears) plan.edit_weight(*linear, FoldNorm{reads.norm->weight->info.name});
    plan.edit_weight(*reads.norm, Fill{1});
  }
  const MultiplyRight r1{rotation(model.hidden_size()), "R1"}, r2{rotation(model.head_dim()), "R2"};
  const MultiplyLeft r1_out{r1.r.transposed(), "R1'"}, r2_out{r2.r.transposed(), "R2'"};
  for (const Module& module : model.modules()) {
    const Role role = module.role;
    const bool writes = role == Role::attn_o || role == Role::mlp_out;
    if (role == Role::stream_norm || role == Role::qk_norm || role == Role::unknown) continue;
    plan.edit_weight(module, writes ? Edit(r1_out) : Edit(r1));
    if (writes && module.bias) plan.edit_bias(module, r1);
    if (role == Role::attn_v) plan.edit_weight(module, r2_out);
    if (role == Role::attn_v && module.bias) plan.edit_bias(module, r2);
    if (role == Role::attn_o) plan.edit_weight(module, r2);
  }
  return plan;
}

TEST(RewritePlan, HasEveryTensorOnceAndUneditedInTheOrderOfTheModules) {
  for (ArchitectureCase& one : read_architecture_cases()) {
    SCOPED_TRACE(one.name);
    const std::string buffer = "model.layers.0.self_attn.rotary_emb.inv_freq";
    one.tensors.push_back({.name = buffer, .dtype = DType::F32, .shape = {3}});
    const Model model = make_model(one);
    const RewritePlan plan(model);
    std::multiset<std::string> planned, all;
    for (const TensorInfo& tensor : one.tensors) all.insert(tensor.name);
    for (const TensorPlan& tensor : plan.tensors()) {
      planned.insert(tensor.name);
      EXPECT_EQ(tensor.source, model.checkpoint().find(tensor.name));
      EXPECT_TRUE(tensor.edits.empty());
    }
    EXPECT_EQ(planned, all);
    EXPECT_EQ(plan.tensors().front().name, "model.embed_tokens.weight");
    EXPECT_EQ(plan.tensors()[1].name, "model.layers.0.self_attn.q_proj.weight");
    EXPECT_EQ(plan.tensors().back().name, buffer);
    EXPECT_EQ(plan.config().dump(), one.config.dump());
  }
}

TEST(RewritePlan, EditsHappenInTheOrderTheyWereGiven) {
  const Model model = make_model(read_architecture_case("qwen2", "plain"));
  RewritePlan plan(model);
  const Module& value = *model.find("model.layers.1.self_attn.v_proj");
  plan.edit_weight(value, CenterRows{});
  plan.edit_weight(value, Fill{2});
  plan.edit_bias(value, Fill{3});
  const std::vector<Edit>& edits = find(plan, value.name + ".weight")->edits;
  ASSERT_EQ(edits.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<CenterRows>(edits[0]));
  EXPECT_EQ(std::get<Fill>(edits[1]).value, 2);
  EXPECT_EQ(std::get<Fill>(find(plan, value.name + ".bias")->edits.at(0)).value, 3);
}

TEST(RewritePlan, WhatHasNoWeightOrBiasCannotBeEdited) {
  const Model model = llama();
  RewritePlan plan(model);
  EXPECT_EQ(message_of([&] { plan.edit_weight(*model.find("model.layers.0.mlp"), Fill{}); }),
            "model.layers.0.mlp: has no weight to edit; name a linear, an embedding or a norm");
  EXPECT_EQ(message_of([&] { plan.edit_bias(*model.find("lm_head"), Fill{}); }), "lm_head: has no bias to edit");
}

TEST(RewritePlan, ATiedHeadOrEmbeddingCannotBeEditedBeforeUntying) {
  const Model model = tied_llama();
  RewritePlan plan(model);
  for (const Module* module : {model.head(), model.embedding()})
    EXPECT_EQ(message_of([&] { plan.edit_weight(*module, CenterRows{}); }),
              module->name +
                  ".weight: cannot be edited: the embedding and the head are one tensor (tied); "
                  "call untie() on the plan first");
  plan.untie();
  plan.edit_weight(*model.head(), CenterRows{});
  EXPECT_EQ(find(plan, "lm_head.weight")->edits.size(), 1U);
  EXPECT_TRUE(find(plan, "model.embed_tokens.weight")->edits.empty());
}

TEST(RewritePlan, UntyingGivesTheHeadACopyOfTheEmbeddingOnce) {
  const Model model = tied_llama();
  RewritePlan plan(model);
  const size_t before = plan.tensors().size();
  plan.untie();
  plan.untie();
  EXPECT_TRUE(plan.untied());
  EXPECT_EQ(plan.tensors().size(), before + 1);
  EXPECT_EQ(find(plan, "lm_head.weight")->source, model.embedding()->weight);
  EXPECT_TRUE(find(plan, "lm_head.weight")->edits.empty());
}

TEST(RewritePlan, AHeadStaysTiedWhereItsRowSaysSo) {
  const testing::Changed changed("StaysForCausalLM", "tied with biases", [](Architecture& row) {
    row.refusals = {{"untie", "layers share weights, too", "tie_word_embeddings"}};
  });
  const Model model = changed.describe();
  RewritePlan plan(model);
  const std::string message = message_of([&] { plan.untie(); });
  EXPECT_TRUE(message.starts_with("lm_head.weight: cannot be a tensor of its own: layers share weights, too"))
      << message;
  EXPECT_FALSE(plan.untied());
}

TEST(RewritePlan, UntyingAHeadWithATensorOfItsOwnKeepsIt) {
  ArchitectureCase both = read_architecture_case("llama", "tied with biases");
  both.tensors.push_back({.name = "lm_head.weight", .dtype = DType::BF16, .shape = {32, 24}});
  const Model model = make_model(both);
  RewritePlan plan(model);
  EXPECT_THROW(plan.edit_weight(*model.head(), CenterRows{}), Error);
  plan.untie();
  EXPECT_EQ(plan.tensors().size(), both.tensors.size());
  plan.edit_weight(*model.head(), CenterRows{});
  EXPECT_EQ(plan.config()["tie_word_embeddings"], false);
}

TEST(RewritePlan, UntyingAnUntiedModelChangesNothing) {
  const Model model = llama();
  RewritePlan plan(model);
  plan.untie();
  EXPECT_FALSE(plan.untied());
  EXPECT_EQ(plan.tensors().size(), model.checkpoint().tensors().size());
  EXPECT_EQ(plan.config().dump(), model.checkpoint().config().dump());
}

TEST(RewritePlan, TheConfigOfAnUntiedHeadDiffersInThatKeyOnly) {
  ArchitectureCase tied = read_architecture_case("smollm3", "tied");
  RewritePlan plan(make_model(tied));
  plan.untie();
  std::string expected = tied.config.dump();
  expected.replace(expected.find("\"tie_word_embeddings\":true"), 26, "\"tie_word_embeddings\":false");
  EXPECT_EQ(plan.config().dump(), expected);
  tied.config.erase("tie_word_embeddings");  // the family's default is true
  RewritePlan by_default(make_model(tied));
  by_default.untie();
  tied.config["tie_word_embeddings"] = false;  // at the end
  EXPECT_EQ(by_default.config().dump(), tied.config.dump());
}

TEST(RewritePlan, DescribesEveryTensorOnOneLineAndLayersThatAreAlikeOnce) {
  const std::string text = spin(tied_llama()).text();
  EXPECT_EQ(text, R"(model.embed_tokens.weight                           (32, 24) bf16  W R1
model.layers.{0-1}.self_attn.q_proj.weight          (24, 24) bf16  fold input_layernorm | W R1
model.layers.{0-1}.self_attn.q_proj.bias            (24) bf16      copied
model.layers.{0-1}.self_attn.k_proj.weight          (8, 24) bf16   fold input_layernorm | W R1
model.layers.{0-1}.self_attn.k_proj.bias            (8) bf16       copied
model.layers.{0-1}.self_attn.v_proj.weight          (8, 24) bf16   fold input_layernorm | W R1 | R2' W (2 blocks of 4)
model.layers.{0-1}.self_attn.v_proj.bias            (8) bf16       b R2 (2 blocks of 4)
model.layers.{0-1}.self_attn.o_proj.weight          (24, 24) bf16  R1' W | W R2 (6 blocks of 4)
model.layers.{0-1}.self_attn.o_proj.bias            (24) bf16      b R1
model.layers.{0-1}.mlp.gate_proj.weight             (40, 24) bf16  fold post_attention_layernorm | W R1
model.layers.{0-1}.mlp.gate_proj.bias               (40) bf16      copied
model.layers.{0-1}.mlp.up_proj.weight               (40, 24) bf16  fold post_attention_layernorm | W R1
model.layers.{0-1}.mlp.up_proj.bias                 (40) bf16      copied
model.layers.{0-1}.mlp.down_proj.weight             (24, 40) bf16  R1' W
model.layers.{0-1}.mlp.down_proj.bias               (24) bf16      b R1
model.layers.{0-1}.input_layernorm.weight           (24) bf16      fill 1
model.layers.{0-1}.post_attention_layernorm.weight  (24) bf16      fill 1
model.norm.weight                                   (24) bf16      fill 1
lm_head.weight                                      (32, 24) bf16  from model.embed_tokens.weight | fold norm | W R1
config.json  tie_word_embeddings false
)");
}

TEST(RewritePlan, DescribesEveryLayerWhenAskedForAll) {
  const Model model = tied_llama();
  const std::string text = spin(model).text(true);
  for (const CheckpointTensor& tensor : model.checkpoint().tensors())
    EXPECT_NE(text.find(tensor.info.name + " "), std::string::npos) << tensor.info.name;
}

TEST(RewritePlan, DescribesLayersThatDifferOneByOneAndOnlineTransforms) {
  const Model model = llama();
  RewritePlan plan(model);
  const Module& down = *model.find("model.layers.1.mlp.down_proj");
  plan.edit_weight(down, MultiplyRight{rotation(8), "R4"});
  plan.add_online({down.name, "R4", TransformLocation::input, rotation(8)});
  const std::string text = plan.text();
  EXPECT_NE(text.find("model.layers.0.mlp.down_proj.weight             (24, 40) bf16  copied\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("model.layers.1.mlp.down_proj.weight             (24, 40) bf16  W R4 (5 blocks of 8)\n"),
            std::string::npos)
      << text;
  EXPECT_TRUE(text.ends_with("model.layers.1.mlp.down_proj  online R4 input\n")) << text;
}

TEST(Edit, IsDescribedInOnePhrase) {
  EXPECT_EQ(text_of(FoldNorm{"model.norm.weight"}, 8, 8), "fold norm");
  EXPECT_EQ(text_of(FoldNorm{"norm", 1}, 8, 8), "fold 1 + norm");
  EXPECT_EQ(text_of(FoldNorm{"mtp.norm", 1, {}, true, true}, 8, 8), "fold 1 / (1 + norm) into rows");
  EXPECT_EQ(text_of(FoldNorm{"hnorm", 0, Slice{8, 8, 16}}, 8, 16), "fold hnorm into columns 8 to 15");
  EXPECT_EQ(text_of(Scale{{}, "m"}, 8, 16), "rows times scale m");
  EXPECT_EQ(text_of(Scale{{}, "m", true, true}, 8, 16), "columns over scale m");
  EXPECT_EQ(text_of(Scale{{}, "k", true}, 1, 8), "entries times scale k");
  EXPECT_EQ(text_of(Scale{{}, "k", false, true, Slice{0, 2, 4}}, 8, 16), "rows over scale k (2 from 0 of 4)");
  EXPECT_EQ(text_of(FoldNormBias{"h.0.ln_1.bias", "h.0.attn.c_attn.weight", true}, 1, 8), "fold bias of ln_1");
  EXPECT_EQ(text_of(FoldNormWithBias{"h.0.ln_1.weight", "h.0.ln_1.bias"}, 8, 8), "fold ln_1 with its bias");
  EXPECT_EQ(text_of(FoldNormWithBias{"ln_1.weight", "ln_1.bias", 1}, 8, 8), "fold 1 + ln_1 with its bias");
  EXPECT_EQ(text_of(FillLevel{}, 1, 8), "fill level");
  EXPECT_EQ(text_of(CenterRows{}, 8, 8), "center rows");
  EXPECT_EQ(text_of(Fill{0.5}, 1, 8), "fill 0.5");
  EXPECT_EQ(text_of(MultiplyRight{rotation(4), "R"}, 8, 4), "W R");
  EXPECT_EQ(text_of(MultiplyRight{rotation(4), "R"}, 1, 8), "b R (2 blocks of 4)");
  EXPECT_EQ(text_of(MultiplyLeft{rotation(4), "R'"}, 8, 4), "R' W (2 blocks of 4)");
}

}  // namespace
}  // namespace spinor::plan_test
