#include "spinor/modifier/oneshot.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/note_modifier.h"
#include "tests/golden/golden.h"

namespace spinor::oneshot_test {
namespace {

TEST(RunRecipe, SendsEveryModifierThroughItsLifecycleInOrder) {
  NoteModifier::add();
  NoteModifier::log().clear();
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  Recipe recipe = Recipe::parse(
      "a_stage: {x_modifiers: {NoteModifier: {text: one}, SpinQuantModifier: {}}, y_modifiers: {NoteModifier: {text: "
      "two}}}",
      "recipe.yaml");
  const std::vector<std::string> warnings = run_recipe(recipe, model, plan);
  EXPECT_EQ(warnings, (std::vector<std::string>{"note one", "note two"}));
  EXPECT_EQ(NoteModifier::log(),
            (std::vector<std::string>{"one initialize", "two initialize", "one calibration_epoch_start",
                                      "two calibration_epoch_start", "one calibration_epoch_end",
                                      "two calibration_epoch_end", "one finalize", "two finalize"}));
  EXPECT_FALSE(golden::tensor(plan, "model.embed_tokens.weight").edits.empty());
  EXPECT_EQ(testing::message_of([&] { run_recipe(recipe, model, plan); }),
            "NoteModifier: Cannot initialize a modifier that has already been initialized");
}

TEST(RunRecipe, RefusesModifiersThatNeedData) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  Recipe recipe =
      Recipe::parse("a_stage: {b_modifiers: {SpinQuantModifier: {requires_calibration_data: true}}}", "recipe.yaml");
  EXPECT_EQ(testing::message_of([&] { run_recipe(recipe, model, plan); }),
            "SpinQuantModifier: needs calibration data, and there is none; write the model with spinor "
            "quantize --calibration FILE, or remove "
            "requires_calibration_data from the recipe");
}

}  // namespace
}  // namespace spinor::oneshot_test
