#include "spinor/base/pattern.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "spinor/base/error.h"
#include "spinor/base/json.h"

namespace spinor::pattern_test {
namespace {

std::string message(std::string_view target, std::string_view name = "") {
  try {
    return Pattern(target).matches(name) ? "matches" : "does not match";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Pattern, AgreesWithPythonsRe) {
  std::stringstream text;
  text << std::ifstream(SPINOR_SOURCE_DIR "/tests/golden/pattern.json").rdbuf();
  const Json golden = parse_json(text.str(), "pattern.json");
  ASSERT_GT(golden["targets"].size(), 90u);
  for (const Json& row : golden["targets"]) {
    const std::string target = row[0];
    if (row[1].is_null()) {
      EXPECT_THROW(Pattern{target}, Error) << row;
      continue;
    }
    const Pattern pattern(target);
    std::string matches;
    for (const Json& name : golden["names"]) matches += pattern.matches(name.get<std::string>()) ? '1' : '0';
    EXPECT_EQ(matches, row[1].get<std::string>()) << row;
  }
}

TEST(Pattern, WithoutThePrefixIsAnExactName) {
  EXPECT_TRUE(Pattern("model.norm").matches("model.norm"));
  EXPECT_FALSE(Pattern("model.norm").matches("modelxnorm"));
  EXPECT_FALSE(Pattern("model.*").matches("model.norm"));
  EXPECT_FALSE(Pattern("model.norm").is_regex());
  EXPECT_TRUE(Pattern("re:model.norm").is_regex());
}

TEST(Pattern, ACopyOutlivesTheOriginal) {
  auto original = std::make_unique<Pattern>("re:a+$");
  const Pattern copy = *original;
  original.reset();
  EXPECT_TRUE(copy.matches("aaa"));
}

TEST(Pattern, NamesTheTargetAndTheOffset) {
  EXPECT_EQ(message("re:a("), "re:a(: not a regular expression: missing closing parenthesis at offset 2");
  EXPECT_EQ(message("re:ab\\h"), "re:ab\\h: not a regular expression of Python: bad escape \\h at offset 2");
}

TEST(Pattern, RefusesWhatItReadsOtherwiseThanPython) {
  for (const char* target : {"re:(?x)a b", "re:(?a)\\w", "re:\\N{DASH}"})
    EXPECT_THROW(Pattern{target}, Error) << target;
}

TEST(Pattern, HostileExpressionsEndWithAnError) {
  const std::string name(40, 'a');
  EXPECT_NE(message("re:(a+)+(a+)+(a+)+$", name + "!").find("use a simpler expression"), std::string::npos);
  EXPECT_NE(message("re:(.|a)*(.|a)*(.|a)*[bc]", name).find("use a simpler expression"), std::string::npos);
  EXPECT_THROW(Pattern("re:((a{9999}){9999}){9999}"), Error);
  EXPECT_THROW(Pattern("re:" + std::string(300, '(') + std::string(300, ')')), Error);
  EXPECT_THROW(Pattern("re:" + std::string(20'000, 'a')), Error);
  EXPECT_THROW(Pattern("re:\xff"), Error);
  EXPECT_THROW(Pattern("re:.*").matches("\xff"), Error);
  EXPECT_TRUE(Pattern("re:.*$").matches(std::string(1'000'000, 'a')));
}

}  // namespace
}  // namespace spinor::pattern_test
