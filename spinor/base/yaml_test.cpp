#include "spinor/base/yaml.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "spinor/base/error.h"

namespace spinor::yaml_test {
namespace {

std::string message(std::string_view text) {
  try {
    parse_yaml(text, "recipe.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Yaml, ReadsARecipeWithItsLines) {
  const Document recipe = parse_yaml(R"(# a recipe
default_stage:
  default_modifiers:
    SpinQuantModifier:
      rotations: [R1, R2]
      transform_type: random-hadamard
      seed: 67280421310721
      mappings:
        - norm: "re:.*input_layernorm$"
          linears: re:.*(q|k|v)_proj$
        - {norm: model.norm, linears: lm_head}
)",
                                     "recipe.yaml");
  EXPECT_EQ(recipe.value.dump(),
            R"({"default_stage":{"default_modifiers":{"SpinQuantModifier":{"rotations":["R1","R2"],)"
            R"("transform_type":"random-hadamard","seed":67280421310721,"mappings":[{"norm":"re:.*input_layernorm$",)"
            R"("linears":"re:.*(q|k|v)_proj$"},{"norm":"model.norm","linears":"lm_head"}]}}}})");
  const std::string modifier = "/default_stage/default_modifiers/SpinQuantModifier";
  EXPECT_EQ(recipe.lines.at(""), 2);
  EXPECT_EQ(recipe.lines.at("/default_stage"), 2);
  EXPECT_EQ(recipe.lines.at(modifier), 4);
  EXPECT_EQ(recipe.lines.at(modifier + "/rotations/1"), 5);
  EXPECT_EQ(recipe.lines.at(modifier + "/seed"), 7);
  EXPECT_EQ(recipe.lines.at(modifier + "/mappings/0/linears"), 10);
  EXPECT_EQ(recipe.lines.at(modifier + "/mappings/1/linears"), 11);
}

TEST(Yaml, ResolvesScalarsAsPythonsSafeLoad) {
  std::stringstream text;
  text << std::ifstream(SPINOR_SOURCE_DIR "/tests/golden/yaml.json").rdbuf();
  const Json rows = parse_json(text.str(), "yaml.json");
  ASSERT_GT(rows.size(), 80u);
  for (const Json& row : rows) {
    const Json read = parse_yaml("key: " + row[0].get<std::string>(), "x").value["key"];
    EXPECT_EQ(read, row[1]) << row;
    EXPECT_EQ(read.is_number_float(), row[1].is_number_float()) << row;
  }
}

TEST(Yaml, ReadsPowersOfTenAsNumbersAlthoughPythonDoesNot) {
  EXPECT_EQ(parse_yaml("1e-2", "x").value, 0.01);
  EXPECT_EQ(parse_yaml("1E3", "x").value, 1000.0);
  EXPECT_EQ(parse_yaml("-1.5e3", "x").value, -1500.0);
}

TEST(Yaml, AnEmptyDocumentIsNull) {
  EXPECT_TRUE(parse_yaml("", "x").value.is_null());
  EXPECT_TRUE(parse_yaml("# nothing\n", "x").value.is_null());
}

TEST(Yaml, NamesADuplicateKeyAndItsLine) {
  EXPECT_EQ(message("a: 1\nb:\n  c: 1\n  c: 2\n"), "recipe.yaml:4: duplicate key 'c'");
  EXPECT_EQ(message("a: {b: {c: 1}}\nd: {b: {c: 1}}\n"), "no error");
}

TEST(Yaml, EscapesSlashesInPointers) {
  EXPECT_EQ(parse_yaml("\na/b~c: 1", "x").lines.at("/a~1b~0c"), 2);
}

TEST(Yaml, RefusesWhatARecipeNeverNeeds) {
  EXPECT_EQ(message("a:\n  <<: {b: 1}"), "recipe.yaml:2: merge keys are not supported; write the values out");
  EXPECT_EQ(message("a: !!python/object/apply:os.system [x]"),
            "recipe.yaml:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not supported; remove it");
  EXPECT_EQ(message("a: !!int '1'"), "recipe.yaml:1: the tag tag:yaml.org,2002:int is not supported; remove it");
  EXPECT_EQ(message("1: a"), "recipe.yaml:1: the key 1 is not text; put it in quotes");
  EXPECT_EQ(message("on: a"), "recipe.yaml:1: the key on is not text; put it in quotes");
  EXPECT_EQ(message("? [a]\n: b"), "recipe.yaml:1: a key must be text");
  EXPECT_EQ(message("a: 1\n---\nb: 2\n"), "recipe.yaml: holds more than one document");
  EXPECT_EQ(message("a: .inf"), "recipe.yaml:1: .inf is not supported; write a finite number");
  EXPECT_EQ(message("a: 1:30"), "recipe.yaml:1: 1:30 is a base-60 number in YAML 1.1; put it in quotes");
  EXPECT_EQ(message("a: 2024-05-01"), "recipe.yaml:1: 2024-05-01 is a date in YAML; put it in quotes");
}

TEST(Yaml, AnAliasIsACopy) {
  const Document document = parse_yaml("a: &x {b: [1, &y two]}\nc: [*x, *y]\nd: &z text\ne: *z\n", "x");
  EXPECT_EQ(document.value.dump(), R"({"a":{"b":[1,"two"]},"c":[{"b":[1,"two"]},"two"],"d":"text","e":"text"})");
  EXPECT_EQ(document.lines.at("/c/0"), 2);
  EXPECT_EQ(document.lines.at("/c/0/b/1"), 1);
  EXPECT_EQ(message("a: &x [*x]"), "recipe.yaml:1: an alias stands for a value that it is a part of");
  EXPECT_NE(message("a: *x"), "no error");
  std::string laughs = "a0: &a0 [1]\n";
  for (int i = 1; i < 30; ++i) laughs += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}]\n", i, i - 1);
  EXPECT_NE(message(laughs).find("aliases stand for more than 10000 values"), std::string::npos);
}

TEST(Yaml, ReadsTheEnumsThatLlmCompressorSaves) {
  const std::string tag = "!!python/object/apply:compressed_tensors.quantization.quant_args.QuantizationType ";
  EXPECT_EQ(parse_yaml("a: &i " + tag + "[int]\nb: *i\nc: " + tag + "\n- float\n", "x").value.dump(),
            R"({"a":"int","b":"int","c":"float"})");
  EXPECT_EQ(message("a: " + tag + "[int, float]"), "recipe.yaml:1: an enum has one value");
  EXPECT_EQ(message("a: " + tag + "[[int]]"), "recipe.yaml:1: an enum has one value");
}

TEST(Yaml, RefusesNumbersOutOfRange) {
  EXPECT_EQ(parse_yaml("18446744073709551615", "x").value, UINT64_MAX);
  EXPECT_EQ(parse_yaml("-9223372036854775808", "x").value, INT64_MIN);
  for (const char* text : {"18446744073709551616", "-9223372036854775809", "-18446744073709551615", "1.0e999", "0b_"})
    EXPECT_EQ(message(text), "recipe.yaml:1: the number " + std::string(text) + " is out of range");
}

TEST(Yaml, SaysWhereMalformedTextStops) {
  EXPECT_EQ(message("a: 1\nb: [1, 2\nc: 3\n").substr(0, 12), "recipe.yaml:");
  for (const char* text : {"a: [", "a: 'x", "\tb: 1", "a: b: c", "]", "%YAML 9.9\n---\na", "a: \"\\q\""})
    EXPECT_NE(message(text), "no error") << text;
}

TEST(Yaml, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(message("a: 1\nb: x\x9cy"), "recipe.yaml:2: holds bytes that are not UTF-8");
  EXPECT_EQ(message("\xff\x80: 1").find("no error"), std::string::npos);
}

TEST(Yaml, LimitsTheDepth) {
  EXPECT_EQ(message(std::string(64, '[') + std::string(64, ']')), "no error");
  EXPECT_EQ(message(std::string(65, '[') + std::string(65, ']')), "recipe.yaml:1: nested deeper than 64");
  EXPECT_NE(message(std::string(20'000, '[')), "no error");
}

}  // namespace
}  // namespace spinor::yaml_test
