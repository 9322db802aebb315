#include "spinor/model/module_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "spinor/model/changed_testing.h"

namespace spinor::module_list_test {
namespace {

using testing::Changed;

bool has(const std::vector<const Module*>& modules, const std::string& name) {
  return std::ranges::any_of(modules, [&](const Module* module) { return module->name == name; });
}

TEST(ModuleList, AHeadMayHaveRowsOfItsOwn) {
  const auto one_less = [](Architecture& row) { row.head_rows = "vocab_size - 1"; };
  Changed changed("FewerForCausalLM", "plain", one_less);
  const int64_t rows = changed.size("vocab_size"), columns = changed.size("hidden_size");
  EXPECT_TRUE(changed.error().starts_with("lm_head.weight: has shape (")) << changed.error();
  changed.model.tensor("lm_head.weight").shape = {rows - 1, columns};
  const Model model = changed.describe();
  EXPECT_EQ(model.head()->shape.out, rows - 1);
  EXPECT_EQ(model.embedding()->shape.out, rows);
}

TEST(ModuleList, ATiedHeadHasTheRowsOfTheEmbedding) {
  const auto named = [](const char* rows) { return [=](Architecture& row) { row.head_rows = rows; }; };
  const Changed same("SameForCausalLM", "tied with biases", named("vocab_size"));
  const Model model = same.describe();
  EXPECT_EQ(model.head()->weight, model.embedding()->weight);
  const Changed other("OtherForCausalLM", "tied with biases", named("vocab_size + 1"));
  EXPECT_NE(other.error().find("so it cannot be model.embed_tokens.weight, which has"), std::string::npos)
      << other.error();
}

// Beside four experts one that is shared, and a gate more than there are experts, which nobody reads.
void with_experts(Architecture& row) {
  row.experts = "num_local_experts";
  LinearRow shared = {"mlp.shared", "hidden_size", "intermediate_size", "", "", Layout::experts};
  shared.count = "num_shared";
  LinearRow gate = {"mlp.experts.{E}.gate", "intermediate_size", "hidden_size"};
  gate.count = "any";
  row.linears.insert(row.linears.end(), {shared, gate, {"mlp.experts.{E}.down", "hidden_size", "intermediate_size"}});
  row.norms.back().reads.push_back(gate.name);
  for (const char* name : {"mlp.shared", "mlp.experts.{E}.down"}) row.writes.emplace_back(name);
}

Changed counted() {
  Changed changed("CountedForCausalLM", "plain", with_experts);
  changed.model.config["num_local_experts"] = 2;
  changed.model.config["num_shared"] = 3;
  const int64_t hidden = changed.size("hidden_size"), inner = changed.size("intermediate_size");
  for (int64_t layer = 0; layer < changed.size("num_hidden_layers"); ++layer) {
    const std::string mlp = "model.layers." + std::to_string(layer) + ".mlp.";
    changed.add(mlp + "shared", {3, hidden, inner});
    for (const char* expert : {"0", "1"}) changed.add(mlp + "experts." + expert + ".down.weight", {hidden, inner});
    for (const char* expert : {"0", "1", "2"}) changed.add(mlp + "experts." + expert + ".gate.weight", {inner, hidden});
  }
  return changed;
}

TEST(ModuleList, LinearsMayHaveACountOfTheirOwn) {
  const Model model = counted().describe();
  EXPECT_EQ(model.find("model.layers.0.mlp.shared")->shape.count, 3);
  EXPECT_TRUE(has(model.stream().readers(), "model.layers.1.mlp.experts.2.gate"));
  EXPECT_TRUE(has(model.stream().writers, "model.layers.1.mlp.experts.1.down"));
  Changed fewer = counted();
  fewer.model.remove("model.layers.0.mlp.experts.2.gate.weight");
  EXPECT_EQ(fewer.error(), "");  // any
  fewer.model.remove("model.layers.0.mlp.experts.1.gate.weight");
  EXPECT_TRUE(fewer.error().starts_with("model.layers.0.mlp.experts.1.gate.weight: is missing")) << fewer.error();
  Changed more = counted();
  more.model.tensor("model.layers.1.mlp.shared").shape[0] = 4;
  EXPECT_TRUE(more.error().starts_with("model.layers.1.mlp.shared: has shape (4, ")) << more.error();
}

// Numbers that layers share among them: each has some, or none.
TEST(ModuleList, NumbersOfAnyMayHaveGaps) {
  Changed changed("GapsForCausalLM", "plain", [](Architecture& row) {
    LinearRow adapter = {"mlp.adapters.{E}.down", "any", "hidden_size", "", "present"};
    adapter.count = "any";
    row.linears.push_back(adapter);
    row.norms.back().reads.push_back(adapter.name);
    row.layer_kinds = {{adapter.name}, {}};
  });
  for (const char* number : {"11", "3"})
    changed.add(std::string("model.layers.1.mlp.adapters.") + number + ".down.weight",
                {4, changed.size("hidden_size")});
  const Model model = changed.describe();
  for (const char* number : {"3", "11"})
    EXPECT_TRUE(has(model.stream().readers(), std::string("model.layers.1.mlp.adapters.") + number + ".down"));
  EXPECT_EQ(model.find("model.layers.1.mlp.adapters.0.down"), nullptr);
  changed.add("model.layers.1.mlp.adapters.x.down.weight", {4, changed.size("hidden_size")});
  EXPECT_TRUE(changed.error().starts_with("model.layers.1.mlp.adapters.x.down.weight: ")) << changed.error();
}

void mlps_beside(Architecture& row) {
  const auto move = [](std::string& name) {
    if (name.starts_with("mlp.")) name = "mlps.{L}." + name.substr(4);
  };
  for (LinearRow& linear : row.linears) move(linear.name);
  for (NormRow& norm : row.norms) std::ranges::for_each(norm.reads, move);
  for (std::vector<std::string>* names : {&row.writes, &row.mlp_in, &row.mlp_out}) std::ranges::for_each(*names, move);
}

TEST(ModuleList, PartsOfALayerMayStandBesideTheLayers) {
  Changed changed("AsideForCausalLM", "plain", mlps_beside);
  for (TensorInfo& tensor : changed.model.tensors)
    if (const size_t at = tensor.name.find(".mlp."); at != std::string::npos)
      tensor.name = "model.mlps." + tensor.name.substr(at - 1, 1) + tensor.name.substr(at + 4);
  const Model model = changed.describe();
  EXPECT_TRUE(has(model.stream().readers(), "model.mlps.1.up_proj"));
  EXPECT_TRUE(has(model.stream().writers, "model.mlps.0.down_proj"));
  EXPECT_EQ(model.find("model.mlps.1.down_proj")->layer, 1);
  EXPECT_EQ(model.role("model.mlps.1.down_proj.weight"), Role::mlp_out);
  changed.model.remove("model.mlps.1.up_proj.weight");
  EXPECT_TRUE(changed.error().starts_with("model.mlps.1.up_proj.weight: is missing")) << changed.error();
}

TEST(ModuleList, AnEmbeddingMayLieInPieces) {
  Changed changed("PiecesForCausalLM", "plain", [](Architecture& row) {
    row.embeddings = {{"embed_tokens", "any"}, {"more_tokens", "any"}};
    row.head_rows = "vocab_size";
  });
  const int64_t hidden = changed.size("hidden_size");
  changed.model.tensor("model.embed_tokens.weight").shape = {5, hidden};
  changed.add("model.more_tokens", {3, hidden});
  const Model model = changed.describe();
  EXPECT_EQ(model.embedding()->shape.out, 5);
  for (const char* name : {"model.embed_tokens", "model.more_tokens"})
    EXPECT_TRUE(has(model.stream().writers, name)) << name;
  changed.model.tensor("model.embed_tokens.weight").shape = {5, hidden + 1};
  EXPECT_TRUE(changed.error().starts_with("model.embed_tokens.weight: has shape (5, ")) << changed.error();
}

TEST(ModuleList, WhatIsAddedToTheStreamWrites) {
  Changed changed("VectorForCausalLM", "plain", [](Architecture& row) {
    row.embeddings.push_back({"start", "1"});
    row.parameters = {{.name = "mlp.bias", .shape = {"hidden_size"}, .writes = "true"}};
  });
  const int64_t hidden = changed.size("hidden_size");
  changed.add("model.start", {hidden});
  for (const char* layer : {"0", "1"}) changed.add(std::string("model.layers.") + layer + ".mlp.bias", {hidden});
  const Model model = changed.describe();
  for (const char* name : {"model.start", "model.layers.1.mlp.bias"}) {
    EXPECT_TRUE(has(model.stream().writers, name)) << name;
    EXPECT_EQ(model.role(name), Role::position);
    EXPECT_EQ(model.find(name)->shape.in, hidden);
  }
}

TEST(ModuleList, ABiasMayLieBesideItsLinear) {
  Changed changed("BesideForCausalLM", "plain", [](Architecture& row) { row.linears[3].bias = "true"; });
  EXPECT_TRUE(changed.error().starts_with("model.layers.0.self_attn.o_proj.bias: is missing")) << changed.error();
  for (const char* layer : {"0", "1"})
    changed.add(std::string("model.layers.") + layer + ".self_attn.o_proj_bias", {changed.size("hidden_size")});
  const Model model = changed.describe();
  EXPECT_EQ(model.find("model.layers.0.self_attn.o_proj")->bias->info.name, "model.layers.0.self_attn.o_proj_bias");
}

}  // namespace
}  // namespace spinor::module_list_test
