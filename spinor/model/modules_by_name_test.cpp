#include <gtest/gtest.h>

#include "spinor/model/model.h"
#include "spinor/model/testing.h"

namespace spinor::modules_by_name_test {
namespace {

using testing::ArchitectureCase;
using testing::message_of;
using testing::read_architecture_cases;
using testing::TemporaryDirectory;
using testing::write_checkpoint;

Model accept(ArchitectureCase model) {
  model.config["architectures"] = {"NovelForCausalLM"};
  const TemporaryDirectory directory;
  return Model::describe(write_checkpoint(directory.path(), model), {.accept_unknown = true});
}

ArchitectureCase of_tensors(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  ArchitectureCase model{"unknown", Json::object(), {}, {}};
  for (const auto& [name, shape] : tensors)
    model.tensors.push_back({.name = name, .dtype = DType::BF16, .shape = shape});
  return model;
}

TEST(UnknownModel, ModulesWithTensorsAreThoseOfTheKnownOne) {
  for (const ArchitectureCase& one : read_architecture_cases()) {
    SCOPED_TRACE(one.name);
    const TemporaryDirectory directory;
    const Model known = Model::describe(write_checkpoint(directory.path(), one)), unknown = accept(one);
    EXPECT_EQ(unknown.architecture(), nullptr);
    EXPECT_EQ(unknown.tied_head(), known.tied_head());
    EXPECT_TRUE(unknown.stream().norm_reads.empty());
    for (const Module& module : known.modules()) {
      if (!module.weight) continue;
      const Module* found = unknown.find(module.name);
      ASSERT_NE(found, nullptr) << module.name;
      EXPECT_EQ(found->kind, module.kind) << module.name;
      EXPECT_EQ(found->layer, module.layer) << module.name;
      EXPECT_EQ(found->role, Role::unknown);
      EXPECT_EQ(found->weight->info.name, module.weight->info.name);
      EXPECT_EQ(found->bias != nullptr, module.bias != nullptr) << module.name;
      if (module.kind == ModuleKind::norm) continue;
      EXPECT_EQ(found->classes, module.classes);
    }
  }
}

TEST(UnknownModel, NumbersInNamesAreOrderedAsNumbersAndParentsComeFirst) {
  const Model model = accept(of_tensors({{"h.10.fc.weight", {2, 2}},
                                         {"h.9.fc.weight", {2, 2}},
                                         {"wte.weight", {4, 2}},
                                         {"h.9.ln.weight", {2}},
                                         {"h.9a.fc.weight", {2, 2}}}));
  std::vector<std::string> names;
  for (const Module& module : model.modules()) names.push_back(module.name);
  EXPECT_EQ(names, (std::vector<std::string>{"", "h", "h.9", "h.9.fc", "h.9.ln", "h.10", "h.10.fc", "h.9a", "h.9a.fc",
                                             "wte"}));
  EXPECT_EQ(model.modules().front().classes, (std::vector<std::string>{"NovelForCausalLM", "Module"}));
}

TEST(UnknownModel, OnlyWeightsOfOneOrTwoDimensionsAndTheirBiasesAreOwned) {
  const Model model = accept(of_tensors({{"conv.weight", {2, 2, 3}},
                                         {"conv.bias", {2}},
                                         {"experts.gate_up_proj", {3, 4, 2}},
                                         {"scale.weight", {}},
                                         {"weight", {2, 2}},
                                         {"fc.weight", {2, 2}},
                                         {"fc.bias", {2}},
                                         {"odd..weight", {2, 2}}}));
  EXPECT_EQ(model.find("fc")->bias->info.name, "fc.bias");
  for (const char* name : {"conv.weight", "conv.bias", "experts.gate_up_proj", "scale.weight", "weight"})
    EXPECT_EQ(model.owner(name), nullptr) << name;
}

TEST(UnknownModel, SizesThatTheConfigDoesNotHaveAreNamedWhenAskedFor) {
  const Model model = accept(of_tensors({{"fc.weight", {2, 2}}}));
  EXPECT_TRUE(message_of([&] { model.num_heads(); }).ends_with("config.json: has no num_attention_heads"));
  EXPECT_THROW(model.head_dim(), Error);
}

TEST(UnknownModel, ATiedOneNeedsExactlyOneEmbeddingOfTokens) {
  ArchitectureCase one = of_tensors({{"wte.weight", {4, 2}}, {"wpe.weight", {8, 2}}});
  one.config["tie_word_embeddings"] = true;
  const Model model = accept(one);
  EXPECT_EQ(model.embedding()->name, "wte");
  EXPECT_EQ(model.head()->name, "lm_head");
  EXPECT_EQ(model.head()->weight, model.embedding()->weight);
  one.tensors.push_back({.name = "embed_tokens.weight", .dtype = DType::BF16, .shape = {4, 2}});
  EXPECT_THROW(accept(one), Error);
}

}  // namespace
}  // namespace spinor::modules_by_name_test
