#include "spinor/quant/config.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/quant/presets.h"
#include "tests/golden/golden.h"

namespace spinor::config_test {
namespace {

const Place kPlace{"config_groups.group_0", "recipe.yaml"};

QuantizationConfig parse(const Json& json) {
  return quantization_config_from_json(json, "config.json");
}

QuantizationScheme parse_scheme(const Json& json) {
  return parse({{"config_groups", {{"group_0", json}}}}).config_groups.front().second;
}

// The message of the Error, "" if there is none.
template <class Work>
std::string refusal(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

QuantizationScheme with_format(std::string_view name, const char* format) {
  QuantizationScheme scheme = preset(name, {"Linear"}, kPlace);
  scheme.format = format;
  return scheme;
}

std::string refusal_of(const QuantizationScheme& scheme) {
  return refusal([&] { format_of(scheme, kPlace); });
}

TEST(QuantizationScheme, IsReadAndRefusedAsByThePeer) {
  for (const Json& row : golden::json("quantization/schemes.json")) {
    if (!row.contains("dump")) {
      EXPECT_THROW(parse_scheme(row["input"]), Error) << row["input"];
      continue;
    }
    const nlohmann::json dump = write_fields(parse_scheme(row["input"]));
    EXPECT_EQ(dump, nlohmann::json(row["dump"])) << row["input"];
  }
}

// Where spinor does not write what the peer infers, it says so; in all other cases they agree.
TEST(Format, IsInferredAsByThePeer) {
  int compared = 0;
  for (const Json& row : golden::json("quantization/formats.json")) {
    const QuantizationScheme scheme = parse_scheme(row["scheme"]);
    if (!refusal_of(scheme).empty()) continue;
    EXPECT_EQ(format_of(scheme, kPlace), row["format"]) << row["scheme"];
    ++compared;
  }
  EXPECT_EQ(compared, 60);
}

TEST(Format, MayBeExplicit) {
  EXPECT_EQ(format_of(with_format("W4A8", "pack-quantized"), kPlace), "pack-quantized");
  EXPECT_EQ(format_of(with_format("W8A16", "int-quantized"), kPlace), "int-quantized");
  EXPECT_EQ(format_of(with_format("W4A16", "dense"), kPlace), "dense");
}

TEST(Format, ThatDoesNotHoldTheWeightsIsRefusedWithThoseThatDo) {
  EXPECT_EQ(refusal_of(with_format("FP8_DYNAMIC", "pack-quantized")),
            "recipe.yaml: pack-quantized does not hold float of 8 bits; use float-quantized or naive-quantized");
  EXPECT_EQ(refusal_of(with_format("W4A16", "float-quantized")),
            "recipe.yaml: float-quantized does not hold int of 4 bits; use pack-quantized or int-quantized or "
            "naive-quantized");
  EXPECT_EQ(refusal_of(with_format("MXFP4A16", "nvfp4-pack-quantized")),
            "recipe.yaml: nvfp4-pack-quantized does not hold weights of strategy group; use mxfp4-pack-quantized");
}

TEST(Format, ThatIsNotSupportedIsRefused) {
  EXPECT_EQ(refusal_of(preset("MXFP6A16", {"Linear"}, kPlace)),
            "recipe.yaml: the format mxfp6-pack-quantized is not supported yet");
  EXPECT_EQ(refusal_of(with_format("MXFP6A16", "dense")),
            "recipe.yaml: the format mxfp6-pack-quantized is not supported yet");
  EXPECT_EQ(refusal_of(with_format("W4A16", "marlin-24")), "recipe.yaml: the format marlin-24 is not supported yet");
  EXPECT_EQ(refusal_of(with_format("W4A16", "mixed-precision")),
            "recipe.yaml: mixed-precision is no format of one group; leave format out, or give the group its own");
  EXPECT_EQ(refusal_of(with_format("W4A16", "pack-quantised")),
            "recipe.yaml: no format is called 'pack-quantised'; did you mean 'pack-quantized'?");
}

TEST(Format, HoldsNoDynamicWeights) {
  QuantizationScheme scheme = preset("W8A8", {"Linear"}, kPlace);
  scheme.weights = scheme.input_activations;
  EXPECT_EQ(refusal_of(scheme), "recipe.yaml: weights are stored, so they cannot be dynamic");
}

TEST(QuantizationConfig, WritesTheBlockThatThePeerWrites) {
  for (const Json& row : golden::json("quantization/blocks.json")) {
    Json block = to_json(parse(row["block"]), Json::object());
    EXPECT_EQ(block["version"], kCompressedTensors);
    block.erase("version");
    EXPECT_EQ(nlohmann::json(block), nlohmann::json(row["block"])) << row["fields"];
  }
}

TEST(QuantizationConfig, CarriesTheTransformConfig) {
  const Json transforms = {{"config_groups", {{"R1", {{"type", "hadamard"}}}}}};
  EXPECT_EQ(to_json(QuantizationConfig{}, transforms)["transform_config"], transforms);
}

TEST(QuantizationConfig, ReadsTheLeastThatTransformersLoads) {
  const QuantizationConfig config = parse(Json::parse(R"({
    "quant_method": "compressed-tensors", "quantization_status": "compressed", "ignore": ["lm_head"], "config_groups": {
      "group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": true,
                  "strategy": "group", "group_size": 128, "dynamic": false}}}})"));
  EXPECT_EQ(config.ignore, std::vector<std::string>{"lm_head"});
  EXPECT_EQ(format_of(config.config_groups.front().second, kPlace), "pack-quantized");
}

TEST(QuantizationConfig, GroupsMayBePresetsWithTargets) {
  const QuantizationConfig config = parse({{"config_groups", {{"W4A16", {"re:.*mlp.*"}}, {"w8a8", {"Linear"}}}}});
  ASSERT_EQ(config.config_groups.size(), 2u);
  EXPECT_EQ(config.config_groups[0].second, preset("W4A16", {"re:.*mlp.*"}, kPlace));
  EXPECT_EQ(config.config_groups[1].second, preset("W8A8", {"Linear"}, kPlace));
}

TEST(QuantizationConfig, TheFormatAtTheTopIsThatOfGroupsWithoutOne) {
  const Json group = {{"targets", {"Linear"}}, {"weights", {{"num_bits", 8}}}};
  const auto format = [&](const Json& top) {
    return parse({{"config_groups", {{"g", group}}}, {"format", top}}).config_groups.front().second.format;
  };
  EXPECT_EQ(format("int-quantized"), "int-quantized");
  EXPECT_EQ(format("fakequant"), std::nullopt);
  EXPECT_EQ(format("mixed-precision"), std::nullopt);
}

TEST(QuantizationConfig, IgnoresUnknownKeysAtTheTopOnly) {
  EXPECT_NO_THROW(parse({{"config_groups", Json::object()}, {"run_compressed", true}}));
  EXPECT_EQ(refusal([] { parse(Json::parse(R"({"config_groups": {"g": {"targets": ["Linear"], "weight": {}}}})")); }),
            "config.json: unknown key 'weight' in quantization_config.config_groups.g; did you mean 'weights'?");
}

TEST(QuantizationConfig, RefusesSparseWeights) {
  EXPECT_NO_THROW(parse({{"sparsity_config", Json::object()}}));
  EXPECT_NO_THROW(parse({{"sparsity_config", {{"format", "dense"}}}}));
  EXPECT_EQ(refusal([] { parse({{"sparsity_config", {{"format", "sparse-24-bitmask"}}}}); }),
            "config.json: the weights are compressed as sparse (\"sparse-24-bitmask\"); spinor reads dense");
}

TEST(QuantizationConfig, WritesMixedPrecisionWhenFormatsDifferAndDenseWithoutAny) {
  QuantizationConfig config;
  EXPECT_EQ(to_json(config, {})["format"], "dense");
  config.config_groups = {{"group_0", with_format("W4A16", "pack-quantized")}};
  EXPECT_EQ(to_json(config, {})["format"], "pack-quantized");
  config.config_groups.emplace_back("group_1", with_format("W8A8", "int-quantized"));
  EXPECT_EQ(to_json(config, {})["format"], "mixed-precision");
}

}  // namespace
}  // namespace spinor::config_test
