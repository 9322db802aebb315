// What the tests of SpinQuantModifier share. Not for the library.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "spinor/modifier/oneshot.h"
#include "tests/golden/golden.h"

namespace spinor::testing {

// A recipe of one SpinQuantModifier, whose arguments stand on line 4.
inline std::string recipe_of(const std::string& arguments) {
  return "a_stage:\n  b_modifiers:\n    SpinQuantModifier:\n      {" + arguments + "}\n";
}

struct Result {
  RewritePlan plan;
  std::vector<std::string> warnings;
  std::string yaml;  // the recipe after the run
};

inline Result run(const std::string& text, const Model& model) {
  Recipe recipe = Recipe::parse(text, "recipe.yaml");
  RewritePlan plan(model);
  std::vector<std::string> warnings = run_recipe(recipe, model, plan);
  return {std::move(plan), std::move(warnings), recipe.yaml()};
}

inline Model llama(const std::string& name = "llama") {
  return golden::model("transforms/" + name);
}

// The largest difference of any tensor. The plans must make the same tensors.
inline double distance(const RewritePlan& a, const RewritePlan& b) {
  EXPECT_EQ(a.tensors().size(), b.tensors().size());
  double largest = 0;
  for (const TensorPlan& tensor : a.tensors()) {
    const auto x = golden::evaluate(a, tensor), y = golden::evaluate(b, golden::tensor(b, tensor.name));
    largest = std::max(largest, golden::distance(x, y));
  }
  return largest;
}

template <typename E>
bool has_edit(const RewritePlan& plan, std::string_view tensor) {
  const auto& edits = golden::tensor(plan, tensor).edits;
  return std::ranges::any_of(edits, [](const Edit& edit) { return std::holds_alternative<E>(edit); });
}

}  // namespace spinor::testing
