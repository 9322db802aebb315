// Runs a recipe on a model, without data: what it asks for ends up in a plan.
#pragma once

#include <string>
#include <vector>

#include "spinor/modifier/recipe.h"

namespace spinor {

// initialize of every modifier in the order of the recipe, then calibration_epoch_start to all, calibration_epoch_end
// to all, finalize of all. Returns what the user should read. Error for a modifier that needs calibration data, and
// what the modifiers throw; the plan is then not to be used. A recipe runs once: its modifiers keep what they did.
std::vector<std::string> run_recipe(Recipe& recipe, const Model& model, RewritePlan& plan);

}  // namespace spinor
