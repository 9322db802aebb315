#include "spinor/model/quantization_targets.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/model/testing.h"
#include "tests/golden/golden.h"

namespace spinor::quantization_targets_test {
namespace {

const Place kPlace{"QuantizationModifier", "recipe.yaml"};

QuantizationConfig config_of(const Json& groups, const Json& ignore = Json::array()) {
  return quantization_config_from_json({{"config_groups", groups}, {"ignore", ignore}}, "recipe.yaml");
}

// Weights of any kind, for these targets.
Json group_of(const std::vector<std::string>& targets) {
  return {{"targets", targets}, {"weights", {{"num_bits", 8}}}};
}

std::string refusal(const QuantizationConfig& config, const Model& model) {
  try {
    check_targets(config, model, kPlace);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(QuantizationTargets, GiveEveryModuleTheSchemeThatThePeerGives) {
  int compared = 0;
  for (const Json& row : golden::json("quantization/targets.json")) {
    const Model model = golden::model("transforms/" + row["model"].get<std::string>());
    const QuantizationConfig config = config_of(row["config_groups"], row["ignore"]);
    Json bits = Json::object();
    for (const QuantizedModule& one : quantized_modules(config, model))
      bits[one.module->name] = one.group->second.weights->num_bits;
    EXPECT_EQ(bits.dump(), row["bits"].dump()) << row["model"] << row["config_groups"] << row["ignore"];
    ++compared;
  }
  EXPECT_GT(compared, 30);
}

TEST(QuantizationTargets, LeaveOutWhatThePeerListsUnderIgnore) {
  for (const Json& row : golden::json("quantization/targets.json")) {
    const Model model = golden::model("transforms/" + row["model"].get<std::string>());
    const QuantizationConfig config = config_of(row["config_groups"], row["ignore"]);
    EXPECT_EQ(Json(modules_left_out(quantized_modules(config, model), model)), row["stored_ignore"])
        << row["model"] << row["config_groups"] << row["ignore"];
  }
}

TEST(QuantizationTargets, OfNoModuleAreRefused) {
  const Model model = golden::model("transforms/llama");
  EXPECT_EQ(refusal(config_of({{"g", group_of({"Linear", "re:.*qq_proj"})}}), model),
            "recipe.yaml: no module of the model matches the target 're:.*qq_proj'");
  EXPECT_EQ(refusal(config_of({{"g", group_of({"LlamaMLP"})}}), model),
            "recipe.yaml: the target 'LlamaMLP' matches no linear and no embedding; other modules cannot be quantized, "
            "nor routers");
  EXPECT_EQ(refusal(config_of({{"g", group_of({"Linear", "model.embed_tokens"})}}), model), "");
}

TEST(QuantizationTargets, NameTheIgnoreEntriesThatMatchNothing) {
  const Model model = golden::model("transforms/llama");
  const QuantizationConfig config = config_of({{"g", group_of({"Linear"})}}, {"lm_head", "re:.*visual.*", "lm_head2"});
  EXPECT_EQ(check_targets(config, model, kPlace), (std::vector<std::string>{"re:.*visual.*", "lm_head2"}));
}

// Only names are known of such a model, and a router's tensor looks like a linear's.
Model model_of_experts() {
  testing::ArchitectureCase model{"experts", {{"architectures", {"NovelForCausalLM"}}}, {}, {}};
  for (const char* name : {"layers.0.mlp.gate.weight", "layers.0.mlp.gate_proj.weight", "layers.0.router.weight"})
    model.tensors.push_back({.name = name, .dtype = DType::BF16, .shape = {4, 8}});
  const testing::TemporaryDirectory directory;
  return Model::describe(testing::write_checkpoint(directory.path(), model), {.accept_unknown = true});
}

TEST(QuantizationTargets, NeverMatchRouters) {
  const Model model = model_of_experts();
  const QuantizationConfig config = config_of({{"g", group_of({"Linear", "re:.*gate", "layers.0.router"})}});
  const std::vector<QuantizedModule> found = quantized_modules(config, model);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.front().module->name, "layers.0.mlp.gate_proj");
  EXPECT_EQ(modules_left_out(found, model), (std::vector<std::string>{"layers.0.mlp.gate", "layers.0.router"}));
  EXPECT_EQ(refusal(config, model),
            "recipe.yaml: the target 'layers.0.router' matches no linear and no embedding; other modules cannot be "
            "quantized, nor routers");
}

}  // namespace
}  // namespace spinor::quantization_targets_test
