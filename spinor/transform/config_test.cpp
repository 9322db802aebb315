#include "spinor/transform/config.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "tests/golden/golden.h"

namespace spinor::config_test {
namespace {

TransformConfig parse(const Json& json) {
  return transform_config_from_json(json, "config.json");
}

// The message of the Error, "" if there is none.
std::string refusal(const char* text) {
  try {
    parse(parse_json(text, "config.json"));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TransformConfig, DumpsWhatThePeerDumps) {
  for (const Json& row : golden::json("transforms/configs.json")) {
    if (!row.contains("dump") || row["coerced"]) continue;
    EXPECT_EQ(to_json(parse(row["input"])).dump(), row["dump"].dump());
  }
}

TEST(TransformConfig, ReadsItsOwnDump) {
  for (const Json& row : golden::json("transforms/configs.json")) {
    if (row.contains("dump")) {
      EXPECT_EQ(to_json(parse(row["dump"])).dump(), row["dump"].dump());
    }
  }
}

TEST(TransformConfig, RefusesWhatThePeerRefuses) {
  for (const Json& row : golden::json("transforms/configs.json")) {
    if (!row.contains("dump")) {
      EXPECT_THROW(parse(row["input"]), Error) << row["input"];
    }
  }
}

TEST(TransformConfig, ConvertsNothingSilently) {
  for (const Json& row : golden::json("transforms/configs.json")) {
    if (row["coerced"]) {
      EXPECT_THROW(parse(row["input"]), Error) << row["input"];
    }
  }
}

TEST(TransformConfig, NamesTheKeyThatIsWrong) {
  EXPECT_EQ(refusal(R"({"config_groups": {"R1": {"type": "hadamard", "head_dims": 64}}})"),
            "config.json: unknown key 'head_dims' in transform_config.config_groups.R1; did you mean 'head_dim'?");
  EXPECT_EQ(refusal(R"({"config_groups": {"R1": {"apply": []}}})"),
            "config.json: missing key 'type' in transform_config.config_groups.R1");
  EXPECT_EQ(refusal(R"({"config_groups": {"R1": {"type": "hadamard", "precision": "float46"}}})"),
            "config.json: transform_config.config_groups.R1.precision: torch has no dtype 'float46'; did you mean "
            "'float64'?");
  EXPECT_EQ(
      refusal(R"({"config_groups": {"v": {"type": "hadamard", "apply": [{"targets": "a", "location": "imput"}]}}})"),
      "config.json: transform_config.config_groups.v.apply[0].location must be one of input, weight_input, output, "
      "weight_output, k_cache, q_attn, not 'imput'; did you mean 'input'?");
}

TEST(TransformConfig, MergesNamesAsThePeer) {
  for (const Json& row : golden::json("transforms/merges.json")) {
    TransformConfig first, second;
    for (const std::string name : row["first"])
      first.config_groups.emplace_back(name, TransformScheme{.type = "hadamard"});
    for (const std::string name : row["second"])
      second.config_groups.emplace_back(name, TransformScheme{.type = "hadamard"});
    first.merge(second);
    std::vector<std::string> names;
    for (const auto& [name, scheme] : first.config_groups) names.push_back(name);
    EXPECT_EQ(Json(names), row["merged"]) << row["first"] << row["second"];
  }
}

TEST(TransformConfig, MergesWithItself) {
  TransformConfig config;
  config.config_groups.emplace_back("R1", TransformScheme{.type = "hadamard"});
  config.merge(config);
  ASSERT_EQ(config.config_groups.size(), 2u);
  EXPECT_EQ(config.config_groups[1].first, "R1_1");
}

TEST(TransformConfig, KeepsTheSeedToItself) {
  TransformConfig config;
  config.config_groups.emplace_back("R1", TransformScheme{.type = "hadamard", .seed = 7});
  EXPECT_EQ(to_json(config).dump().find("seed"), std::string::npos);
}

TEST(TransformLocation, WeightLocationsAreOffline) {
  for (const auto& row : enum_names(TransformLocation{}))
    EXPECT_EQ(is_online(row.value), !row.name.starts_with("weight_")) << row.name;
}

}  // namespace
}  // namespace spinor::config_test
