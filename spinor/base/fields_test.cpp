#include "spinor/base/fields.h"

#include <gtest/gtest.h>

#include <array>

#include "spinor/base/error.h"
#include "spinor/base/yaml.h"

namespace spinor::fields_test {
namespace {

enum class Spin { R1, R2 };
constexpr std::array<EnumName<Spin>, 3> kSpins = {{{Spin::R1, "R1"}, {Spin::R2, "R2"}, {Spin::R1, "r1"}}};
std::span<const EnumName<Spin>> enum_names(Spin) {
  return kSpins;
}

struct Mapping {
  std::string norm;
  std::vector<std::string> linears;
  template <class Visitor>
  void fields(Visitor& v) {
    v("norm", norm, required);
    v("linears", one_or_many(linears), required);
  }
};

struct Base {
  std::optional<double> start;
  template <class Visitor>
  void fields(Visitor& v) {
    v("start", start);
  }
};

struct Options : Base {
  std::vector<Spin> rotations = {Spin::R1, Spin::R2};
  bool randomize = false;
  int threads = 1;
  int64_t block = -1;
  std::optional<uint64_t> seed;
  std::string type = "hadamard";
  std::vector<Mapping> mappings;
  std::vector<std::pair<std::string, Mapping>> groups;
  std::optional<Mapping> one;
  Json extra;
  template <class Visitor>
  void fields(Visitor& v) {
    Base::fields(v);
    v("rotations", rotations);
    v("randomize", randomize);
    v("threads", threads);
    v("block", block);
    v("seed", seed);
    v("type", type);
    v("mappings", mappings);
    v("groups", groups);
    v("one", one);
    v("extra", extra);
  }
};

Options read(std::string_view yaml) {
  const Document document = parse_yaml(yaml, "recipe.yaml");
  return read_fields<Options>(document.value, {"Options", document.subject, &document.lines});
}

std::string message(std::string_view yaml) {
  try {
    read(yaml);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Fields, AbsentKeysKeepTheirDefaults) {
  const Options options = read("{}");
  EXPECT_EQ(options.rotations, (std::vector{Spin::R1, Spin::R2}));
  EXPECT_EQ(options.type, "hadamard");
  EXPECT_FALSE(options.seed);
}

TEST(Fields, WhatIsWrittenReadsBackTheSame) {
  const std::string text =
      R"({"start":0.5,"rotations":["R2"],"randomize":true,"threads":8,"block":-9,"seed":18446744073709551615,)"
      R"("type":"x","mappings":[{"norm":"a","linears":["b","c"]}],)"
      R"("groups":{"z":{"norm":"n","linears":[]},"a":{"norm":"m","linears":[]}},)"
      R"("one":{"norm":"o","linears":["p"]},"extra":[1,{"k":null}]})";
  EXPECT_EQ(write_fields(read(text)).dump(), text);
  EXPECT_EQ(write_fields(read(write_fields(Options{}).dump())), write_fields(Options{}));
}

TEST(Fields, WritesEveryFieldAlways) {
  EXPECT_EQ(
      write_fields(Options{}).dump(),
      R"({"start":null,"rotations":["R1","R2"],"randomize":false,"threads":1,"block":-1,"seed":null,"type":"hadamard",)"
      R"("mappings":[],"groups":{},"one":null,"extra":null})");
}

TEST(Fields, OneStringIsAListOfOne) {
  EXPECT_EQ(read("one: {norm: a, linears: b}").one->linears, std::vector<std::string>{"b"});
  EXPECT_EQ(message("one: {norm: a, linears: 3}"),
            "recipe.yaml:1: Options.one.linears must be a string or a list of strings, not 3");
  EXPECT_EQ(message("rotations: R1"), "recipe.yaml:1: Options.rotations must be a list, not \"R1\"");
}

TEST(Fields, AnIntegerIsADouble) {
  EXPECT_EQ(read("start: 1").start, 1.0);
}

TEST(Fields, AnEnumMayHaveASecondName) {
  EXPECT_EQ(read("rotations: [r1]").rotations, std::vector{Spin::R1});
}

TEST(Fields, NamesAnUnknownKeyItsLineAndTheNearest) {
  EXPECT_EQ(message("seed: 1\nrotation: [R1]"),
            "recipe.yaml:2: unknown key 'rotation' in Options; did you mean 'rotations'?");
  EXPECT_EQ(message("one:\n  norm: a\n  linear: b"),
            "recipe.yaml:3: unknown key 'linear' in Options.one; did you mean 'linears'?");
  EXPECT_EQ(message("one: {norm: a, linears: b, bogus: 1}"),
            "recipe.yaml:1: unknown key 'bogus' in Options.one; known: norm, linears");
}

TEST(Fields, NamesAMissingKey) {
  EXPECT_EQ(message("seed: 1\nmappings:\n  - norm: a\n    linears: b\n  - norm: c\n"),
            "recipe.yaml:5: missing key 'linears' in Options.mappings[1]");
}

TEST(Fields, SaysWhichTypeWasExpected) {
  EXPECT_EQ(message("\nrandomize: 'yes'"), "recipe.yaml:2: Options.randomize must be true or false, not \"yes\"");
  EXPECT_EQ(message("randomize: 1"), "recipe.yaml:1: Options.randomize must be true or false, not 1");
  EXPECT_EQ(message("randomize:"), "recipe.yaml:1: Options.randomize must be true or false, not null");
  EXPECT_EQ(message("threads: 1.0"), "recipe.yaml:1: Options.threads must be an integer, not 1.0");
  EXPECT_EQ(message("threads: true"), "recipe.yaml:1: Options.threads must be an integer, not true");
  EXPECT_EQ(message("threads: 2147483648"), "recipe.yaml:1: Options.threads must be less than 2^31, not 2147483648");
  EXPECT_EQ(message("block: 9223372036854775808"),
            "recipe.yaml:1: Options.block must be less than 2^63, not 9223372036854775808");
  EXPECT_EQ(message("seed: -1"), "recipe.yaml:1: Options.seed must be an integer from 0 on, not -1");
  EXPECT_EQ(message("start: a"), "recipe.yaml:1: Options.start must be a number, not \"a\"");
  EXPECT_EQ(message("type: 3"), "recipe.yaml:1: Options.type must be a string, not 3");
  EXPECT_EQ(message("one: 3"), "recipe.yaml:1: Options.one must be a map, not 3");
  EXPECT_EQ(message("groups: []"), "recipe.yaml:1: Options.groups must be a map, not []");
  EXPECT_EQ(message("3"), "recipe.yaml:1: Options must be a map, not 3");
}

TEST(Fields, NamesTheValuesOfAnEnum) {
  EXPECT_EQ(message("rotations:\n- R1\n- R3"),
            "recipe.yaml:3: Options.rotations[1] must be one of R1, R2, not 'R3'; did you mean 'R1'?");
  EXPECT_EQ(message("rotations: [1]"), "recipe.yaml:1: Options.rotations[0] must be one of R1, R2, not 1");
}

TEST(Fields, ALongWrongValueIsCut) {
  EXPECT_LT(message("start: " + std::string(1'000'000, 'a')).size(), 200u);
}

TEST(Fields, WithoutLinesTheSubjectStandsAlone) {
  try {
    read_fields<Options>(parse_json(R"({"one": {}})", "config.json"), {"transform_config", "config.json"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "config.json: missing key 'norm' in transform_config.one");
  }
}

TEST(Fields, ListsTheKeys) {
  Mapping mapping;
  EXPECT_EQ(field_names(mapping), (std::vector<std::string_view>{"norm", "linears"}));
}

}  // namespace
}  // namespace spinor::fields_test
