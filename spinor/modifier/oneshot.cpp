#include "spinor/modifier/oneshot.h"

#include "spinor/base/error.h"

namespace spinor {

std::vector<std::string> run_recipe(Recipe& recipe, const Model& model, RewritePlan& plan) {
  for (const RecipeStep& step : recipe.steps()) {
    if (!step.modifier->fields.requires_calibration_data) continue;
    throw Error(step.modifier->name(), "needs calibration data, which is not supported yet",
                "remove requires_calibration_data, or the modifier, from the recipe");
  }
  State state;
  state.update({.model = &model, .plan = &plan});
  for (const RecipeStep& step : recipe.steps()) step.modifier->initialize(state);
  for (const EventType type : {EventType::calibration_epoch_start, EventType::calibration_epoch_end}) {
    for (const RecipeStep& step : recipe.steps()) step.modifier->update_event(state, {.type = type});
  }
  for (const RecipeStep& step : recipe.steps()) step.modifier->finalize(state);
  return std::move(state.warnings);
}

}  // namespace spinor
