// Runs a recipe on a model: what it asks for ends up in a plan.
#pragma once

#include <string>
#include <vector>

#include "spinor/modifier/recipe.h"

namespace spinor {

// A recipe runs once: its modifiers keep what they did. What the modifiers throw leaves the plan not to be used.
class RecipeRun {
 public:
  // initialize of every modifier in the order of the recipe, then calibration_epoch_start to all; the plan is complete
  // then. All three must stay where they are.
  RecipeRun(Recipe& recipe, const Model& model, RewritePlan& plan);

  // An event of calibration, to every modifier. Error if one changes the plan now: what was calibrated would not be
  // what is written.
  void send(const Event& event);
  // calibration_epoch_end to all, finalize of all. Returns what the user should read.
  std::vector<std::string> finish();
  // The same where there was no data. Error for a modifier that says requires_calibration_data.
  std::vector<std::string> finish_without_data();

 private:
  Recipe& recipe_;
  State state_;
};

// All of that without data.
std::vector<std::string> run_recipe(Recipe& recipe, const Model& model, RewritePlan& plan);

}  // namespace spinor
