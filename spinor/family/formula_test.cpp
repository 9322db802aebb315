#include "spinor/family/formula.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/base/testing.h"

namespace spinor::formula_test {
namespace {

using testing::message_of;

Json value_of(std::string_view name) {
  static const Json values = {
      {"heads", 12},    {"dim", 64},         {"L", 3}, {"flag", true}, {"types", {"a", "b", "a", "c"}},
      {"name", "gelu"}, {"nothing", nullptr}};
  return values.contains(name) ? values[std::string(name)] : Json();
}

Json value(std::string_view formula) {
  return evaluate(formula, value_of);
}

TEST(Formula, ArithmeticBindsAsInC) {
  EXPECT_EQ(value("heads * dim"), 768);
  EXPECT_EQ(value("1+2*3-4"), 3);
  EXPECT_EQ(value("(1 + 2) * -3"), -9);
  EXPECT_EQ(value("heads / 4 % 2"), 1);
  EXPECT_EQ(value("8 / 2 / 2"), 2);
  EXPECT_EQ(value("1.5 * dim / 5"), 19.2);
  EXPECT_EQ(value("1 / sqrt(dim)"), 0.125);
  EXPECT_TRUE(value("heads * dim").is_number_integer());
}

TEST(Formula, ConditionsCompareAndCombine) {
  EXPECT_EQ(value("L >= 3 && heads > dim"), false);
  EXPECT_EQ(value("L < 3 || L == 3"), true);
  EXPECT_EQ(value("!(types[L] == 'a') && name != 'relu'"), true);
  EXPECT_EQ(value("name in types"), false);
  EXPECT_EQ(value("'c' in types"), true);
  EXPECT_EQ(value("L in nothing"), false);
  EXPECT_TRUE(holds("flag", value_of, false));
  EXPECT_FALSE(holds("nothing", value_of, true));
  EXPECT_TRUE(holds("", value_of, true));
  EXPECT_EQ(value("absent != null && heads % absent == 0"), false);
  EXPECT_EQ(value("flag || heads / 0 > 1"), true);
  EXPECT_EQ(value("heads ?? name * 2"), 12);
}

TEST(Formula, AbsentNamesAreNullAndMayHaveAnotherValue) {
  EXPECT_EQ(value("absent"), Json());
  EXPECT_EQ(value("absent ?? nothing ?? 4 * heads"), 48);
  EXPECT_EQ(value("types[9]"), Json());
}

TEST(Formula, AConditionChooses) {
  EXPECT_EQ(value("flag ? heads : dim"), 12);
  EXPECT_EQ(value("2 * (L > 3 ? heads : L == 3 ? dim : 1)"), 128);
  EXPECT_EQ(value("nothing ? heads / 0 : name"), "gelu");
  EXPECT_EQ(value("absent ?? flag ? 1 : 2"), 1);
}

TEST(Formula, ObjectsHaveKeys) {
  const auto names = [](std::string_view name) {
    return name == "layers" ? Json::parse(R"({"01": {"size": 16}, "all": 3})") : Json();
  };
  EXPECT_EQ(evaluate("layers[1]['size']", names), 16);
  EXPECT_EQ(evaluate("layers['all'] + (layers[2]['size'] ?? 4)", names), 7);
  EXPECT_EQ(evaluate("absent['size']", names), Json());
}

TEST(Formula, ErrorsNameTheFormula) {
  const auto error = [](std::string_view formula) { return message_of([&] { value(formula); }); };
  const auto starts = [&](std::string_view formula, std::string_view problem) {
    const std::string text = error(formula);
    EXPECT_TRUE(text.starts_with(std::string("'") + std::string(formula) + "': " + std::string(problem))) << text;
  };
  starts("heads *", "is not a formula: it ends too early");
  starts("heads 3", "is not a formula: '3' is not expected");
  starts("(heads", "is not a formula: ')' is missing");
  starts("types[1", "is not a formula: ']' is missing");
  starts("flag ? 1", "is not a formula: ':' is missing");
  starts("heads ? 1 : 2", "12 is not true or false");
  starts("types['a']", "computes with \"a\", which is not an integer");
  starts("3x", "is not a formula: '3x' is not expected");
  starts("'open", "is not a formula: ''open' is not expected");
  starts("heads $ 2", "is not a formula: '$' is not expected");
  starts("absent * 2", "computes with null, which is not an integer");
  starts("name + 1", "computes with \"gelu\", which is not an integer");
  starts("heads / 5", "divides 12 by 5, which leaves a rest");
  starts("heads / 0", "divides by 0");
  starts("heads / 0.0", "divides by 0");
  starts("1.2.3", "is not a formula: '1.2.3' is not expected");
  starts("999999999999999999 * 999999999999999999", "is too large");
}

TEST(Formula, IsCheckedWithoutItsValues) {
  for (const char* formula :
       {"heads / dim % 3 - -sqrt(name)", "!flag ? types['a'][L] : 1 / (dim - dim)", "a in b ?? 0.5"})
    EXPECT_NO_THROW(check_formula(formula)) << formula;
  for (const char* formula : {"", "heads *", "flag ? 1", "true || (heads", "heads 3", "'open"})
    EXPECT_THROW(check_formula(formula), Error) << formula;
}

TEST(Formula, ExplanationsHaveTheValues) {
  EXPECT_EQ(explain("heads * dim", value_of), "heads 12 x dim 64");
  EXPECT_EQ(explain("2 * (heads + absent)", value_of), "2 x (heads 12 + absent)");
}

}  // namespace
}  // namespace spinor::formula_test
