#include "spinor/family/architecture_file.h"

#include <gtest/gtest.h>

#include <functional>

#include "spinor/base/error.h"
#include "spinor/base/testing.h"
#include "spinor/base/yaml_writer.h"

namespace spinor::architecture_file_test {
namespace {

std::string error_of(const std::string& yaml) {
  try {
    read_architecture(parse_yaml(yaml, "abc.yaml"));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ArchitectureFile, EveryRowOfTheTableAgreesWithItself) {
  for (const Architecture& row : architectures()) EXPECT_NO_THROW(check_architecture(row, row.names.front()));
}

TEST(ArchitectureFile, EveryRowOfTheTableCanBeWrittenAndReadBack) {
  for (const Architecture& row : architectures()) {
    const std::string yaml = to_yaml(write_fields(row));
    EXPECT_TRUE(read_architecture(parse_yaml(yaml, "row.yaml")) == row) << yaml;
  }
}

TEST(ArchitectureFile, WhatIsNotThereIsAsInLlama) {
  const Architecture& llama = *find_architecture("LlamaForCausalLM");
  Json json = {{"names", {"AbcForCausalLM"}}};
  const Json all = write_fields(llama);
  for (const char* key : {"linears", "norms"}) json[key] = all[key];
  json["forward"] = Json::object();
  Json read = write_fields(read_architecture(parse_yaml(to_yaml(json), "abc.yaml")));
  read["names"] = all["names"];
  read["classes"] = all["classes"];
  EXPECT_EQ(read, all);
}

TEST(ArchitectureFile, ErrorsNameTheLineOrTheKey) {
  EXPECT_EQ(error_of("names: [A]\nlinears: []\nnorms: []\nwrite: [x]"),
            "abc.yaml:4: unknown key 'write' in architecture; did you mean 'writes'?");
  EXPECT_EQ(error_of("names: [A]\nlinears: []\nnorms: []"),
            "abc.yaml: writes names self_attn.o_proj, which the row does not have");
  EXPECT_NE(
      error_of("names: [A]\nlinears: [{name: x, out: '1', in: '1', layout: diagonal}]\nnorms: []").find("diagonal"),
      std::string::npos);
  EXPECT_EQ(
      error_of("names: [A]\nwrites: []\nembeddings: [{name: x, rows: 'a +'}]\nlayers: ''\nlinears: []\nnorms: []"),
      "abc.yaml: embeddings.rows: 'a +': is not a formula: it ends too early");
  const std::string none = "names: [A]\nwrites: []\nlayers: ''\nouter_norms: []\nnorms: []\n";
  EXPECT_EQ(error_of(none + "linears: [{name: x, out: '1', in: '1', count: '2'}]"),
            "abc.yaml: x has a count, but is not stacked, nor has its name {E}");
  EXPECT_EQ(error_of(none + "linears: [{name: x, out: '2', in: '1', split: ['y.{E}.a', 'y.{E}.b']}]"),
            "abc.yaml: x has `split`, but is not stacked");
  const std::string vectors = none + "linears: []\nparameters: [{name: x, shape: ";
  EXPECT_EQ(error_of(vectors + "['4'], writes: 'true'}]"),
            "abc.yaml: x writes to the residual stream, but its shape does not end in hidden_size");
  EXPECT_NE(error_of(vectors + "[hidden_size], writes: 'true'}]\nmtp: {count: '1'}").find("and the row has mtp"),
            std::string::npos);
}

// What makes a row say of its forward pass what the row itself does not have, or leave out what it has.
struct Change {
  const char* family;
  std::function<void(Architecture&)> change;
  const char* error;
};
const Change kChanges[] = {
    {"Llama", [](Architecture& a) { a.forward->sinks = "sinks"; }, "forward.sinks names sinks, which the row does not"},
    {"Llama", [](Architecture& a) { a.forward->router.emplace(); },
     "forward.router names mlp.gate, which the row does"},
    {"Llama", [](Architecture& a) { a.forward->project_in = "in"; }, "forward.project_in names in, which the row does"},
    {"Llama", [](Architecture& a) { a.forward->delta.emplace(); }, "forward.delta.pieces must be query, key, value"},
    {"Llama", [](Architecture& a) { a.forward->latent.emplace(); },
     "forward.latent names self_attn.kv_a_proj_with_mqa"},
    {"Llama", [](Architecture& a) { a.forward->clip.absent = 8; }, "has `absent`, but no `key` of config.json"},
    {"Llama", [](Architecture& a) { a.parameters = {{"scale", {"1"}}}; }, "the forward pass would leave out scale"},
    {"Llama", [](Architecture& a) { a.norms.push_back({"self_attn.norm"}); }, "would leave out self_attn.norm"},
    {"Llama", [](Architecture& a) { a.mlp_in = {"mlp.up_proj"}; }, "the forward pass would leave out mlp.gate_proj"},
    {"Llama", [](Architecture& a) { a.attention.key = a.attention.query; },
     "query, key and value as three linears, or"},
    {"Llama", [](Architecture& a) { a.scaled_outputs = {"input_layernorm"}; }, "scaled_outputs must be two norms"},
    {"Llama", [](Architecture& a) { a.embeddings.resize(3, {"types", "2"}); },
     "one of the tokens and one of positions"},
    {"Llama", [](Architecture& a) { a.head_rows = "vocab_size"; },
     "head_rows: spinor runs a head of the embedding's size"},
    {"Mixtral", [](Architecture& a) { a.linears.back().count = "any"; }, "linears.count: spinor runs one number of"},
    {"Qwen3", [](Architecture& a) { a.attention.query_norm = ""; }, "would leave out self_attn.q_norm"},
    {"Mixtral", [](Architecture& a) { a.forward->router.reset(); }, "has experts, and `forward` no router to choose"},
    {"Mixtral", [](Architecture& a) { a.forward->router->name = "self_attn.q_proj"; }, "which has no `router: true`"},
};

TEST(ArchitectureFile, AForwardPassRunsWhatTheRowHasAndNothingElse) {
  for (const auto& [family, change, error] : kChanges) {
    Architecture row = *find_architecture(std::string(family) + "ForCausalLM");
    change(row);
    EXPECT_NE(testing::message_of([&] { check_architecture(row, "abc.yaml"); }).find(error), std::string::npos)
        << error;
    row.forward.reset();  // then the model is rotated, not run
    EXPECT_NO_THROW(check_architecture(row, "abc.yaml")) << error;
  }
}

TEST(ArchitectureFile, NoNameIsRegisteredTwice) {
  EXPECT_THROW(register_architecture(*find_architecture("LlamaForCausalLM"), "abc.yaml"), Error);
  Architecture row = *find_architecture("LlamaForCausalLM");
  row.names = {"RegisteredForCausalLM"};
  register_architecture(row, "abc.yaml");
  EXPECT_NE(find_architecture("RegisteredForCausalLM"), nullptr);
  EXPECT_THROW(register_architecture(row, "abc.yaml"), Error);
}

}  // namespace
}  // namespace spinor::architecture_file_test
