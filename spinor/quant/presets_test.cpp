#include "spinor/quant/presets.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/quant/config.h"
#include "tests/golden/golden.h"

namespace spinor::presets_test {
namespace {

const Place kPlace{"QuantizationModifier.scheme", "recipe.yaml"};

// Without the order of keys, which config.json sorts.
nlohmann::json dump(const QuantizationScheme& scheme) {
  return write_fields(scheme);
}

TEST(Presets, AreThePeersEntryByEntry) {
  std::vector<std::string> names;
  for (const Json& row : golden::json("quantization/presets.json")) {
    names.push_back(row["name"]);
    EXPECT_EQ(dump(preset(names.back(), {"Linear"}, kPlace)), nlohmann::json(row["scheme"])) << row["name"];
  }
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()),
            std::set<std::string>(preset_names().begin(), preset_names().end()));
}

TEST(Presets, HaveThePeersFormatsWhereSpinorWritesThem) {
  for (const Json& row : golden::json("quantization/presets.json")) {
    const QuantizationScheme scheme = preset(row["name"].get<std::string>(), {"Linear"}, kPlace);
    if (row["format"] == "mxfp6-pack-quantized")
      EXPECT_THROW(format_of(scheme, kPlace), Error) << row["name"];
    else
      EXPECT_EQ(format_of(scheme, kPlace), row["format"]) << row["name"];
  }
}

TEST(Presets, HaveNamesInAnyCase) {
  EXPECT_TRUE(is_preset("w4a16"));
  EXPECT_TRUE(is_preset("MXFP4xFP8"));
  EXPECT_FALSE(is_preset("W4A17"));
  EXPECT_EQ(preset("fp8_Dynamic", {"a"}, kPlace), preset("FP8_DYNAMIC", {"a"}, kPlace));
}

TEST(Presets, SuggestTheNearestName) {
  try {
    preset("W4A61", {"Linear"}, kPlace);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "recipe.yaml: no preset scheme is called 'W4A61'; did you mean 'W4A16'?");
  }
}

}  // namespace
}  // namespace spinor::presets_test
