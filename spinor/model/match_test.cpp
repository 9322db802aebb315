#include "spinor/model/match.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "tests/golden/golden.h"

namespace spinor::match_test {
namespace {

std::vector<std::string> names_of(const std::vector<const Module*>& modules) {
  std::vector<std::string> names;
  for (const Module* module : modules) names.push_back(module->name);
  return names;
}

// The names of every set, or why there are none, in the words of the golden.
Json sets_of(const Model& model, const std::vector<std::string>& targets) {
  Json sets = Json::array();
  try {
    for (const auto& set : match_module_sets(model, targets)) {
      Json names = Json::array();
      for (const auto& modules : set) names.push_back(names_of(modules));
      sets.push_back(names);
    }
  } catch (const Error& error) {
    return error.problem().starts_with("matches both") ? "rematch" : "incomplete";
  }
  return sets;
}

TEST(MatchModules, FindsTheModulesThatThePeerFinds) {
  for (const Json& row : golden::json("transforms/matches.json")) {
    const Model model = golden::model("transforms/" + row["model"].get<std::string>());
    const std::vector<std::string> targets = row["targets"], ignore = row["ignore"];
    EXPECT_EQ(Json(names_of(match_modules(model, targets, ignore))), row["names"])
        << row["model"] << row["targets"] << row["ignore"];
  }
}

TEST(MatchModuleSets, FormsTheSetsThatThePeerForms) {
  for (const Json& row : golden::json("transforms/sets.json")) {
    const Model model = golden::model("transforms/" + row["model"].get<std::string>());
    EXPECT_EQ(sets_of(model, row["targets"]), row.contains("sets") ? row["sets"] : row["error"])
        << row["model"] << row["targets"];
  }
}

TEST(MatchModuleSets, SaysWhichTargetNeverMatched) {
  const Model model = golden::model("transforms/llama");
  const std::vector<std::string> targets = {"re:.*q_proj$", "re:.*qq_proj$"};
  try {
    match_module_sets(model, targets);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "model.layers.0.self_attn.q_proj: begins a set of modules that is never completed: nothing matches "
                 "'re:.*qq_proj$'; every target of a mapping must match in every layer, or in none");
  }
}

}  // namespace
}  // namespace spinor::match_test
