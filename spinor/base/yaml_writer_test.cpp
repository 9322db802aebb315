#include "spinor/base/yaml_writer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "spinor/base/error.h"
#include "spinor/base/yaml.h"

namespace spinor::yaml_writer_test {
namespace {

// Text of the characters that mean something in YAML, and some that do not.
std::string any_text() {
  return *rc::gen::container<std::string>(rc::gen::element('a', 'Z', '0', ' ', ':', '#', '-', '\'', '"', '\\', '\n',
                                                           '\t', ',', '[', '{', '&', '*', '!', '|', '>', '%', '@', '~',
                                                           '.'));
}

Json any_json(int depth) {
  switch (*rc::gen::inRange(0, depth > 0 ? 7 : 5)) {
    case 0:
      return any_text();
    case 1:
      return *rc::gen::arbitrary<int64_t>();
    case 2:
      return static_cast<double>(*rc::gen::arbitrary<int32_t>()) / 1024;
    case 3:
      return *rc::gen::arbitrary<bool>();
    case 4:
      return nullptr;
    default:
      break;
  }
  Json json = *rc::gen::arbitrary<bool>() ? Json::array() : Json::object();
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    if (json.is_array())
      json.push_back(any_json(depth - 1));
    else
      json[any_text()] = any_json(depth - 1);
  }
  return json;
}

RC_GTEST_PROP(RecipeYaml, IsReadBackAsTheSameValue, ()) {
  const Json map = {{"first", any_json(4)}, {any_text(), any_json(4)}};
  RC_ASSERT(parse_yaml(to_yaml(map), "").value == map);
}

TEST(RecipeYaml, LooksAsLlmCompressorsRecipes) {
  const Json map = Json::parse(R"({"groups": {"R1": {"type": "random-hadamard", "apply": [
      {"targets": ["re:.*embed_tokens$", "lm_head"], "inverse": false, "ignore": []}, {"targets": []}],
      "head_dim": null}},
      "none": {}, "nested": [[1, 2], [{"a": 1}]], "x": {"a": 1}})");
  EXPECT_EQ(to_yaml(map), R"(groups:
  R1:
    type: random-hadamard
    apply:
    - targets: ['re:.*embed_tokens$', lm_head]
      inverse: false
      ignore: []
    - targets: []
    head_dim: null
none: {}
nested:
- [1, 2]
- [{a: 1}]
x:
  a: 1
)");
  EXPECT_EQ(to_yaml(Json::object()), "{}\n");
}

TEST(RecipeYaml, QuotesWhatYamlWouldReadAsSomethingElse) {
  const std::pair<Json, const char*> rows[] = {{"torch.float64", "torch.float64"},
                                               {"Yes", "'Yes'"},
                                               {"null", "'null'"},
                                               {"1e5", "'1e5'"},
                                               {"~", "'~'"},
                                               {"", "''"},
                                               {"it's", "'it''s'"},
                                               {"a\nb", "\"a\\nb\""},
                                               {"ü", "\"ü\""},
                                               {1e-10, "1.0e-10"},
                                               {1e300, "1.0e+300"},
                                               {2.0, "2.0"},
                                               {0.5, "0.5"},
                                               {uint64_t{67280421310721}, "67280421310721"}};
  for (const auto& [value, text] : rows) {
    EXPECT_EQ(to_yaml({{"k", value}}), "k: " + std::string(text) + "\n");
    EXPECT_EQ(parse_yaml(to_yaml({{"k", value}}), "").value["k"], value);
  }
  EXPECT_THROW(to_yaml({{"k", std::numeric_limits<double>::infinity()}}), Error);
}

}  // namespace
}  // namespace spinor::yaml_writer_test
