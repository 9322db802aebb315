#include "spinor/family/left_to_files.h"

#include <gtest/gtest.h>

#include <functional>

#include "spinor/base/testing.h"
#include "spinor/base/yaml_writer.h"
#include "spinor/family/architecture_file.h"

namespace spinor::left_to_files_test {
namespace {

using testing::message_of;

Architecture changed(const std::function<void(Architecture&)>& change) {
  Architecture row = *find_architecture("LlamaForCausalLM");
  row.forward.reset();
  change(row);
  return row;
}

std::string error_of(const std::function<void(Architecture&)>& change) {
  return message_of([&] { check_architecture(changed(change), "abc.yaml"); });
}

TEST(LeftToFiles, AnyIsForSizesThatNoRotationNeeds) {
  EXPECT_EQ(error_of([](Architecture& a) { a.linears[4].out = a.linears[5].out = a.linears[6].in = "any"; }), "");
  EXPECT_EQ(error_of([](Architecture& a) { a.norms.push_back({"self_attn.norm", "any"}); }), "");
  EXPECT_EQ(error_of([](Architecture& a) { a.linears[4].in = "any"; }),
            "abc.yaml: mlp.gate_proj: rotations depend on `in`, so it cannot be `any`; give its formula");
  const auto needs = [](const char* what, const std::function<void(Architecture&)>& change) {
    EXPECT_NE(error_of(change).find(what), std::string::npos) << error_of(change);
  };
  needs("mlp.down_proj: rotations depend on `out`", [](Architecture& a) { a.linears[6].out = "any"; });
  needs("self_attn.v_proj: rotations depend on `out`", [](Architecture& a) { a.linears[2].out = "any"; });
  needs("self_attn.o_proj: rotations depend on `in`", [](Architecture& a) { a.linears[3].in = "any"; });
  needs("input_layernorm: rotations depend on `size`", [](Architecture& a) { a.norms[0].size = "any"; });
  needs("embed_tokens: its `rows` are `any`, and no `head_rows` says how many the head has",
        [](Architecture& a) { a.embeddings[0].rows = "any"; });
  EXPECT_EQ(error_of([](Architecture& a) {
              a.embeddings[0].rows = "any";
              a.head_rows = "vocab_size";
            }),
            "");
  needs("embeddings.columns cannot be `any`", [](Architecture& a) { a.embeddings[0].columns = "any"; });
  needs("linears.bias cannot be `any`", [](Architecture& a) { a.linears[0].bias = "any"; });
  needs("`in`, so it cannot",
        [](Architecture& a) { a.outer_linears = {{"patch", "1", "any", "", "", Layout::filter}}; });
}

// Llama's, whose MLP is there or not.
void present_mlp(Architecture& row) {
  for (size_t i = 4; i < 7; ++i) row.linears[i].when = "present";
  row.norms.push_back({.name = "mlp.norm", .when = "present"});
  row.layer_kinds = {{"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "mlp.norm"}, {}};
}

TEST(LeftToFiles, WhatIsPresentBelongsToAKindOfLayer) {
  const auto error = [](const std::function<void(Architecture&)>& change) {
    return error_of([&](Architecture& row) {
      present_mlp(row);
      change(row);
    });
  };
  EXPECT_EQ(error([](Architecture&) {}), "");
  EXPECT_EQ(error([](Architecture& a) { a.layer_kinds[0].pop_back(); }),
            "abc.yaml: mlp.norm has `when: present`, but no set of layer_kinds names it; list in layer_kinds, for each "
            "kind of layer, which modules with `present` it has");
  EXPECT_EQ(error([](Architecture& a) { a.norms.back().when = ""; }),
            "abc.yaml: layer_kinds names mlp.norm, which has no `when: present`");
  EXPECT_EQ(error([](Architecture& a) { a.linears.push_back(a.linears.back()); }),
            "abc.yaml: mlp.down_proj has `when: present`, and another row has its name");
  EXPECT_EQ(error([](Architecture& a) { a.norms.back().weightless = "true"; }),
            "abc.yaml: mlp.norm: may have no tensors, so `present` says nothing; give a formula for `when`");
  EXPECT_EQ(error([](Architecture& a) { a.outer_norms[0].when = "present"; }),
            "abc.yaml: outer_norms.when cannot be `present`");
}

TEST(LeftToFiles, IsWrittenAndReadBack) {
  const Architecture row = changed([](Architecture& a) {
    present_mlp(a);
    a.parameters = {{"mlp.table", {"any"}}};
    a.other_attentions = {{.head_dim = "2 * head_dim", .when = "L % 2 == 1"}};
  });
  EXPECT_TRUE(read_architecture(parse_yaml(to_yaml(write_fields(row)), "row.yaml")) == row);
  const std::string one =
      "names: [A]\nwrites: []\nlayers: ''\nlinears: []\nnorms: []\nparameters: [{name: x, shape: any}]";
  EXPECT_EQ(read_architecture(parse_yaml(one, "row.yaml")).parameters[0].shape, std::vector<std::string>{"any"});
}

TEST(LeftToFiles, AnAttentionMayHaveNoQueries) {
  EXPECT_EQ(error_of([](Architecture& a) { a.attention.query = a.attention.key = ""; }), "");
  EXPECT_EQ(error_of([](Architecture& a) { a.other_attentions = {{.output = "cross.o_proj"}}; }),
            "abc.yaml: other_attentions names cross.o_proj, which the row does not have");
  const auto run = [](Architecture& a) {
    a.forward.emplace();
    a.other_attentions = {{.when = "L == 0"}};
  };
  EXPECT_NE(error_of(run).find("other_attentions: spinor runs one kind of attention"), std::string::npos);
}

}  // namespace
}  // namespace spinor::left_to_files_test
