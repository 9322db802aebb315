#include "spinor/modifier/quantization_arguments.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/quant/observers.h"
#include "tests/golden/golden.h"

namespace spinor::quantization_arguments_test {
namespace {

const Place kPlace{"QuantizationModifier", "recipe.yaml"};

QuantizationConfig resolved(const Json& fields) {
  return resolve(read_fields<QuantizationArguments>(fields, kPlace), kPlace);
}

// The message of the Error, "" if there is none.
std::string refusal(const char* fields) {
  try {
    resolved(Json::parse(fields));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

ObserverOptions observed(const Json& args) {
  const Json groups = {{"g", {{"targets", {"Linear"}}, {"weights", args}}}};
  return weight_observer(*resolved({{"config_groups", groups}}).config_groups.front().second.weights, kPlace);
}

// The groups as config.json has them. The peer infers a format only when it saves.
nlohmann::json groups_of(QuantizationConfig config) {
  nlohmann::json groups = nlohmann::json::object();
  for (auto& [name, scheme] : config.config_groups) {
    scheme.format.reset();
    groups[name] = write_fields(scheme);
  }
  return groups;
}

TEST(QuantizationArguments, ResolveToTheGroupsThatThePeerResolves) {
  int compared = 0;
  for (const Json& row : golden::json("quantization/recipes.json")) {
    if (!row.contains("config_groups")) continue;
    const QuantizationConfig config = resolved(row["fields"]);
    EXPECT_EQ(groups_of(config), nlohmann::json(row["config_groups"])) << row["fields"];
    EXPECT_EQ(Json(config.ignore), row["ignore"]);
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

TEST(QuantizationArguments, AreRefusedWhereThePeerRefusesThem) {
  for (const Json& row : golden::json("quantization/recipes.json")) {
    if (!row.contains("config_groups")) {
      EXPECT_THROW(resolved(row["fields"]), Error) << row["fields"];
    }
  }
}

TEST(QuantizationArguments, SayWhatIsWrong) {
  EXPECT_EQ(refusal(R"({"scheme": "W4A61"})"),
            "recipe.yaml: no preset scheme is called 'W4A61'; did you mean 'W4A16'?");
  EXPECT_EQ(refusal(R"({"scheme": "W4A16", "target": ["Linear"]})"),
            "recipe.yaml: unknown key 'target' in QuantizationModifier; did you mean 'targets'?");
  EXPECT_EQ(refusal(R"({"scheme": "W4A16", "config_groups": {"g": {"targets": ["Linear"]}}})"),
            "recipe.yaml: scheme and config_groups exclude each other; give one of them");
  EXPECT_EQ(refusal(R"({"scheme": "W4A16", "observer": {"weight": "mse"}})"),
            "recipe.yaml: unknown key 'weight' in QuantizationModifier.observer; did you mean 'weights'?");
  EXPECT_EQ(refusal(R"({"scheme": "W4A16", "weight_observer": "msee"})"),
            "recipe.yaml: no observer is called 'msee'; did you mean 'mse'?");
}

TEST(QuantizationArguments, NameTheLine) {
  const std::map<std::string, int> lines = {{"/q", 2}, {"/q/scheme", 3}, {"/q/scheme/W4A61", 4}};
  const Place place{"QuantizationModifier", "recipe.yaml", &lines, "/q"};
  try {
    resolve(read_fields<QuantizationArguments>(Json::parse(R"({"scheme": {"W4A61": ["Linear"]}})"), place), place);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.subject(), "recipe.yaml:4");
  }
}

// The peer does nothing, and says so nowhere.
TEST(QuantizationArguments, ThatQuantizeNothingAreRefused) {
  EXPECT_EQ(
      refusal(R"({"targets": ["Linear"]})"),
      "recipe.yaml: says neither scheme nor config_groups nor kv_cache_scheme; write scheme: W4A16, or another preset");
  EXPECT_EQ(refusal(R"({"config_groups": {}})"),
            "recipe.yaml: config_groups is empty; name a group and its scheme, or write scheme: W4A16");
  EXPECT_EQ(refusal(R"({"config_groups": {"g": {"targets": ["Linear"], "input_activations": {"dynamic": true}}}})"),
            "recipe.yaml: the scheme of g has activations and no weights, which is not supported yet; give it weights, "
            "or leave it out");
}

constexpr const char* kKvCache = R"("kv_cache_scheme": {"num_bits": 8, "type": "float"})";

TEST(QuantizationArguments, MayQuantizeTheKvCacheAlone) {
  for (const std::string groups :
       {"", R"("config_groups": {}, )", R"("config_groups": {"group_0": {"targets": []}}, )", R"("targets": [], )"}) {
    const QuantizationConfig config = resolved(Json::parse("{" + groups + kKvCache + "}"));
    EXPECT_TRUE(config.config_groups.empty()) << groups;
    EXPECT_TRUE(config.kv_cache_scheme) << groups;
  }
}

TEST(QuantizationArguments, SayThatTargetsAreEmpty) {
  const std::string group = "QuantizationModifier.config_groups.g";
  const std::string hint = "; name modules or classes, as targets: [Linear], or leave it out";
  EXPECT_EQ(refusal(R"({"config_groups": {"g": {"targets": [], "weights": {"num_bits": 8}}}})"),
            "recipe.yaml: targets is an empty list: " + group + " quantizes nothing" + hint);
  EXPECT_EQ(refusal(R"({"config_groups": {"W8A8": []}})"),
            "recipe.yaml: targets is an empty list: QuantizationModifier.config_groups.W8A8 quantizes nothing" + hint);
  EXPECT_EQ(refusal(R"({"scheme": "W8A8", "targets": []})"),
            "recipe.yaml: targets is an empty list: QuantizationModifier.scheme quantizes nothing" + hint);
  EXPECT_EQ(refusal(R"({"config_groups": {"g": {"targets": []}}})"),
            "recipe.yaml: no group names a module; give a group targets: [Linear], and weights");
  EXPECT_EQ(refusal(R"({"config_groups": {"g": {"weights": {"num_bits": 8}}}})"),
            "recipe.yaml: missing key 'targets' in " + group);
}

TEST(QuantizationArguments, GiveEveryGroupItsFormat) {
  const QuantizationConfig config =
      resolved(Json::parse(R"({"scheme": {"W4A16": ["re:.*mlp.*"], "W8A8": ["Linear"], "UNQUANTIZED": ["lm_head"]}})"));
  EXPECT_EQ(config.config_groups[0].second.format, "pack-quantized");
  EXPECT_EQ(config.config_groups[1].second.format, "int-quantized");
  EXPECT_EQ(config.config_groups[2].second.format, "dense");
}

TEST(Observer, IsTheMemorylessOneForWeights) {
  for (const char* name : {"memoryless_minmax", "minmax", "static_minmax", "MinMax", "memoryless-minmax"})
    EXPECT_FALSE(observed({{"observer", name}}).mse) << name;
  for (const char* name : {"memoryless_mse", "mse", "MSE"}) EXPECT_TRUE(observed({{"observer", name}}).mse) << name;
  EXPECT_FALSE(observed(Json::object()).mse);
}

TEST(Observer, ThatExpandsRangesForNvfp4SearchesFromThere) {
  for (const char* name : {"nvfp4_expanded_mse", "fouroversix"}) {
    const ObserverOptions found = observed({{"observer", name}});
    EXPECT_TRUE(found.mse && found.expand == 1.8 && found.grid == 200 && found.patience == 1000) << name;
    EXPECT_EQ(static_cast<int>(found.maxshrink * found.grid), 111) << name;
  }
}

TEST(Observer, HasThePeersArgumentsAndDefaults) {
  const ObserverOptions defaults = observed({{"observer", "mse"}});
  EXPECT_EQ(defaults.maxshrink, 0.2);
  EXPECT_EQ(defaults.patience, 5);
  EXPECT_EQ(defaults.grid, 100);
  EXPECT_EQ(defaults.norm, 2.4);
  const Json kwargs = {{"maxshrink", 0.8}, {"patience", 2}, {"grid", 20.0}, {"norm", 2}, {"triton_error_buffer", 0.3}};
  const ObserverOptions given = observed({{"observer", "mse"}, {"observer_kwargs", kwargs}});
  EXPECT_EQ(given.maxshrink, 0.8);
  EXPECT_EQ(given.patience, 2);
  EXPECT_EQ(given.grid, 20);
  EXPECT_EQ(given.norm, 2);
}

TEST(Observer, ThatWeighsInputsHasThePeersDefaults) {
  const ObserverOptions plain = observed({{"observer", "imatrix_mse"}});
  EXPECT_TRUE(plain.mse && plain.imatrix && plain.maxshrink == 0.95 && plain.patience == 5 && plain.grid == 20);
  EXPECT_EQ(plain.norm, 3);
  const ObserverOptions expanded = observed({{"observer", "nvfp4_expanded_imatrix"}});
  EXPECT_TRUE(expanded.imatrix && expanded.expand == 1.8 && expanded.grid == 200 && expanded.patience == 1000);
  EXPECT_EQ(expanded.norm, 2.4);
  EXPECT_EQ(observed({{"observer", "imatrix_mse"}, {"observer_kwargs", {{"patience", 0}}}}).patience, 0);
}

TEST(Observer, WeighsInputsOfChannelsAndGroupsAlone) {
  const std::pair<const char*, bool> rows[] = {{"channel", true}, {"group", true}, {"tensor", false}, {"block", false}};
  for (const auto& [strategy, weighs] : rows) {
    Json args = {{"observer", "imatrix_mse"}, {"strategy", strategy}, {"observer_kwargs", {{"strict", true}}}};
    if (std::string(strategy) == "group") args["group_size"] = 32;
    if (std::string(strategy) == "block") args["block_structure"] = {32, 32};
    if (weighs) {
      EXPECT_TRUE(observed(args).imatrix) << strategy;
    } else {
      EXPECT_THROW(observed(args), Error) << strategy;
    }
  }
}

TEST(Observer, RefusesArgumentsThatMakeNoSense) {
  for (const Json& kwargs :
       {Json{{"grid", 0.5}}, Json{{"grid", 50.5}}, Json{{"maxshrink", -0.1}}, Json{{"norm", 0}}, Json{{"patience", 0}},
        Json{{"expand", 0.5}}, Json{{"averaging_constant", 0}}, Json{{"shrink", 0.1}}})
    EXPECT_THROW(observed({{"observer", "mse"}, {"observer_kwargs", kwargs}}), Error) << kwargs;
}

}  // namespace
}  // namespace spinor::quantization_arguments_test
