#include "spinor/transform/spinquant.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "tests/golden/golden.h"

namespace spinor::spinquant_test {
namespace {

// Options as llm-compressor's modifier takes them.
SpinQuantOptions options_from(const Json& json) {
  SpinQuantOptions options;
  if (json.contains("rotations")) {
    options.rotations.clear();
    for (const std::string name : json["rotations"]) options.rotations.push_back(spin_from(name));
  }
  options.transform_type = json.value("transform_type", options.transform_type);
  if (json.contains("transform_block_size")) options.transform_block_size = json["transform_block_size"].get<int64_t>();
  if (json.value("precision", "") == "float32") options.precision = Precision::float32;
  return options;
}

TEST(SpinQuant, MakesTheConfigThatThePeerMakes) {
  const Model model = golden::model("transforms/llama");
  for (const Json& row : golden::json("transforms/spinquant.json"))
    EXPECT_EQ(to_json(spinquant(model, options_from(row["options"]))).dump(), row["config"].dump()) << row["options"];
}

TEST(SpinQuant, InfersTheMappingsThatThePeerHas) {
  for (const char* name : {"transforms/llama", "transforms/qwen3"}) {
    const Model model = golden::model(name);
    const Json row = golden::json("transforms/spinquant.json")[0];
    EXPECT_EQ(write_fields(infer_mapping(model)), row["mappings"]);
    Json norms = Json::array();
    for (const NormMapping& mapping : infer_norm_mappings(model)) norms.push_back(write_fields(mapping));
    EXPECT_EQ(norms, row["norm_mappings"]);
  }
}

TEST(SpinQuant, PrefersTheMappingsItIsGiven) {
  const Model model = golden::unknown_model("transforms/llama");
  EXPECT_THROW(spinquant(model, {}), Error);
  SpinQuantMapping mapping = infer_mapping(golden::model("transforms/llama"));
  mapping.attn_v = "re:.*values$";
  mapping.attn_head_dim = 2;
  const TransformConfig config = spinquant(model, {.mappings = mapping});
  ASSERT_EQ(config.config_groups.size(), 2u);
  EXPECT_EQ(config.config_groups[0].second.head_dim, std::nullopt);
  EXPECT_EQ(config.config_groups[1].second.head_dim, 2);
  EXPECT_EQ(config.config_groups[1].second.apply[0].targets, std::vector<std::string>{"re:.*values$"});
}

TEST(SpinQuant, RefusesMatricesThatAreNotOrthogonalWhereTheyMustBe) {
  const Model model = golden::model("transforms/llama");
  const auto with = [&](Spin spin, bool compat) {
    return spinquant(model, {.rotations = {spin}, .transform_type = "random-matrix", .llm_compressor_compat = compat});
  };
  EXPECT_NO_THROW(with(Spin::R2, false));
  EXPECT_NO_THROW(with(Spin::R4, false));
  EXPECT_NO_THROW(with(Spin::R1, true));
  EXPECT_THROW(with(Spin::R3, false), Error);
  try {
    with(Spin::R1, false);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "R1: random-matrix is not orthogonal, so the model would compute something else; "
                 "use --transform-type random-orthogonal by command, transform_type: random-orthogonal in a recipe");
  }
}

TEST(SpinQuant, GivesItsSeedToEveryGroup) {
  const Model model = golden::model("transforms/llama");
  const TransformConfig config = spinquant(model, {.seed = 7});
  for (const auto& [name, scheme] : config.config_groups) EXPECT_EQ(scheme.seed, 7u);
  EXPECT_THROW(spinquant(model, {.transform_block_size = 0}), Error);
  EXPECT_THROW(spinquant(model, {.transform_type = "walsh"}), Error);
}

TEST(Spin, IsReadInAnyCase) {
  EXPECT_EQ(spin_from("r3"), Spin::R3);
  EXPECT_EQ(spin_from("R4"), Spin::R4);
  for (const char* name : {"", "R", "R5", "R11", "1", "R1 "}) EXPECT_THROW(spin_from(name), Error) << name;
}

TEST(SpinQuantMapping, ReadsAndWritesItsFields) {
  const Place place{"mappings", "recipe.yaml"};
  Json json = golden::json("transforms/spinquant.json")[0]["mappings"];
  EXPECT_EQ(write_fields(read_fields<SpinQuantMapping>(json, place)).dump(), json.dump());
  json["mlp_in"] = "re:.*fc1$";
  json.erase("attn");
  const auto mapping = read_fields<SpinQuantMapping>(json, place);
  EXPECT_EQ(mapping.mlp_in, std::vector<std::string>{"re:.*fc1$"});
  EXPECT_EQ(mapping.attn, "re:.*self_attn$");
  for (const char* key : {"embedding", "attn_q", "attn_k", "attn_v", "attn_o", "mlp_in", "mlp_out", "lm_head"}) {
    Json without = json;
    without.erase(key);
    EXPECT_THROW(read_fields<SpinQuantMapping>(without, place), Error) << key;
  }
  json["router"] = "re:.*gate$";
  EXPECT_THROW(read_fields<SpinQuantMapping>(json, place), Error);
}

}  // namespace
}  // namespace spinor::spinquant_test
