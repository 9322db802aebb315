#include "spinor/base/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "spinor/base/error.h"

namespace spinor::json_test {
namespace {

std::string message(std::string_view text) {
  try {
    parse_json(text, "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Json, KeepsTheOrderOfKeysAndEveryType) {
  const std::string text = R"({"z":1,"a":[true,null,-2,18446744073709551615,0.5],"m":{"k":"ü\n"}})";
  EXPECT_EQ(parse_json(text, "x").dump(), text);
}

TEST(Json, AScalarIsADocument) {
  EXPECT_EQ(parse_json(" 3 ", "x"), 3);
}

TEST(Json, NamesADuplicateKeyAndItsPlace) {
  EXPECT_EQ(message("{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}"), "config.json:2:18: duplicate key 'c'");
  EXPECT_EQ(message(R"({"a": 1, "\u0061": 2})"), "config.json:1:17: duplicate key 'a'");
}

TEST(Json, TheSameKeyInTwoObjectsIsFine) {
  EXPECT_EQ(message(R"([{"a": 1}, {"a": {"a": 2}}])"), "no error");
}

TEST(Json, RefusesNanAndInfinity) {
  for (const char* text : {"{\"a\": NaN}", "{\"a\": Infinity}", "{\"a\": -Infinity}"})
    EXPECT_NE(message(text).find("NaN and Infinity are not JSON"), std::string::npos) << message(text);
  EXPECT_NE(message("[1e999]").find("number overflow parsing '1e999'"), std::string::npos) << message("[1e999]");
}

// Python's json, and so transformers, writes and reads them.
TEST(Json, APythonDocumentKeepsNanAndInfinity) {
  const std::string text = R"({
  "limit": [
    0.0,
    Infinity
  ],
  "least": -Infinity,
  "none": NaN,
  "text": "Infinity, \"NaN\""
})";
  EXPECT_EQ(python_json_text(parse_python_json(text, "x"), 2), text);
  EXPECT_TRUE(parse_python_json("[Infinity]", "x")[0].is_string());
  for (const char* bad : {"[Infinit]", "[1Infinity]", "[\"a\" NaN]", "[\"a", "[\"\\", "{\"a\": NaN"})
    EXPECT_THROW(parse_python_json(bad, "x"), Error) << bad;
}

TEST(Json, SaysWhereMalformedTextStops) {
  EXPECT_EQ(message("{\"a\": 1,\n  b: 2}").substr(0, 16), "config.json:2:3:");
  for (const char* text :
       {"", "{", "[1,]", "{\"a\" 1}", "[1] 2", "'a'", "\"\xff\"", "\"\\ud800\"", "nul", "01", "\"a\nb\""})
    EXPECT_NE(message(text), "no error") << text;
}

TEST(Json, LimitsTheDepth) {
  EXPECT_EQ(message(std::string(64, '[') + std::string(64, ']')), "no error");
  EXPECT_EQ(message(std::string(65, '[')), "config.json:1:65: nested deeper than 64");
  EXPECT_EQ(message(std::string(1'000'000, '[')), "config.json:1:65: nested deeper than 64");
}

TEST(Json, ManyKeysTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_json(text + "}", "x").size(), 200'000u);
  // Looking each key up linearly takes minutes; this takes 0.1 s, so 20 s separates them on any machine.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace spinor::json_test
