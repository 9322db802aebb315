// Runs a recipe on a model: what it asks for ends up in a plan.
#pragma once

#include <string>
#include <vector>

#include "spinor/modifier/recipe.h"

namespace spinor {

// What the modifiers throw leaves the plan not to be used.
class RecipeRun {
 public:
  // Prepares every modifier in the order of the recipe, then lets each rewrite the plan, which is complete then. All
  // three must stay where they are. Error for a recipe that has run.
  RecipeRun(Recipe& recipe, const Model& model, RewritePlan& plan);

  // Tells every modifier. Error if one changes the plan now: what was calibrated would not be what is written.
  void send(const CalibrationEvent& event);
  // Tells every modifier of the end, then that there is nothing more to come. Returns what the user should read.
  std::vector<std::string> finish();
  // The same where there was no data. Error for a modifier that says requires_calibration_data.
  std::vector<std::string> finish_without_data();

 private:
  void rewrite(Modifier& modifier);

  Recipe& recipe_;
  const Model& model_;
  RewritePlan& plan_;
  Warnings warnings_;
};

// All of that without data.
std::vector<std::string> run_recipe(Recipe& recipe, const Model& model, RewritePlan& plan);

}  // namespace spinor
