#include "spinor/family/architecture_file.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
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
