#include "spinor/quant/scheme.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "tests/golden/golden.h"

namespace spinor::scheme_test {
namespace {

QuantizationArgs parse(const Json& json, const Place& place = {"weights", "recipe.yaml"}) {
  std::optional<QuantizationArgs> args;
  read_value(json, ArgsField{args}, place);
  return args.value();
}

// The message of the Error, "" if there is none.
std::string refusal(const char* text) {
  try {
    parse(Json::parse(text));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(QuantizationArgs, AreCompletedAndWrittenAsThePeerDoes) {
  for (const Json& row : golden::json("quantization/args.json")) {
    if (!row.contains("dump")) continue;
    Json expected = row["dump"];
    // The peer spells out the default where the key was there and null.
    if (row["input"].contains("zp_dtype") && row["input"]["zp_dtype"].is_null()) expected.erase("zp_dtype");
    EXPECT_EQ(nlohmann::json(to_json(parse(row["input"]))), nlohmann::json(expected)) << row["input"];
  }
}

TEST(QuantizationArgs, ReadTheirOwnDump) {
  for (const Json& row : golden::json("quantization/args.json")) {
    if (!row.contains("dump")) continue;
    const Json dump = to_json(parse(row["input"]));
    EXPECT_EQ(to_json(parse(dump)).dump(), dump.dump());
  }
}

TEST(QuantizationArgs, AreRefusedWhereThePeerRefusesThem) {
  int refused = 0;
  for (const Json& row : golden::json("quantization/args.json")) {
    if (row.contains("dump")) continue;
    EXPECT_THROW(parse(row["input"]), Error) << row["input"];
    ++refused;
  }
  EXPECT_GT(refused, 100);
}

TEST(QuantizationArgs, ConvertNothingSilently) {
  for (const char* text : {R"({"num_bits": "4"})", R"({"num_bits": 4.0})", R"({"symmetric": 1})", R"({"dynamic": 1})",
                           R"({"group_size": "128"})", R"({"num_bits": 0})", R"({"num_bits": 16})"})
    EXPECT_THROW(parse(Json::parse(text)), Error) << text;
}

TEST(QuantizationArgs, NameTheKeyThatIsWrong) {
  EXPECT_EQ(refusal(R"({"num_bit": 4})"), "recipe.yaml: unknown key 'num_bit' in weights; did you mean 'num_bits'?");
  EXPECT_EQ(refusal(R"({"strategy": "grup"})"),
            "recipe.yaml: weights.strategy must be one of tensor, channel, group, block, token, tensor_group, "
            "attn_head, not 'grup'; did you mean 'group'?");
  EXPECT_EQ(refusal(R"({"scale_dtype": "torch.uint9"})"),
            "recipe.yaml: weights.scale_dtype: torch has no dtype 'torch.uint9'; did you mean 'uint1'?");
  EXPECT_EQ(refusal(R"({"actorder": "group"})"),
            "recipe.yaml: actorder \"group\" is no longer part of the formats; use static");
  EXPECT_EQ(refusal(R"({"dynamic": "yes"})"), "recipe.yaml: weights.dynamic must be true, false or local, not \"yes\"");
}

TEST(QuantizationArgs, NameTheLineThatIsWrong) {
  const std::map<std::string, int> lines = {{"/scheme", 3}, {"/scheme/group_size", 5}};
  try {
    parse(Json::parse(R"({"group_size": -2})"), {"scheme", "recipe.yaml", &lines, "/scheme"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.subject(), "recipe.yaml:5");
  }
}

}  // namespace
}  // namespace spinor::scheme_test
