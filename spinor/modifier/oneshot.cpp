#include "spinor/modifier/oneshot.h"

#include <utility>

#include "spinor/base/error.h"

namespace spinor {

RecipeRun::RecipeRun(Recipe& recipe, const Model& model, RewritePlan& plan) : recipe_(recipe) {
  state_.update({.model = &model, .plan = &plan});
  for (const RecipeStep& step : recipe_.steps()) step.modifier->initialize(state_);
  for (const RecipeStep& step : recipe_.steps())
    step.modifier->update_event(state_, {.type = EventType::calibration_epoch_start});
}

void RecipeRun::send(const Event& event) {
  for (const RecipeStep& step : recipe_.steps()) {
    const int64_t before = state_.plan->revision();
    step.modifier->update_event(state_, event);
    if (state_.plan->revision() != before)
      throw Error(step.modifier->name(), "changes the plan while the model is calibrated with it",
                  "leave start out of the recipe, or set start: 0");
  }
}

std::vector<std::string> RecipeRun::finish() {
  for (const RecipeStep& step : recipe_.steps())
    step.modifier->update_event(state_, {.type = EventType::calibration_epoch_end});
  for (const RecipeStep& step : recipe_.steps()) step.modifier->finalize(state_);
  return std::move(state_.warnings);
}

std::vector<std::string> RecipeRun::finish_without_data() {
  for (const RecipeStep& step : recipe_.steps()) {
    if (!step.modifier->fields.requires_calibration_data) continue;
    throw Error(
        step.modifier->name(), "needs calibration data, and there is none",
        "write the model with spinor quantize --calibration FILE, or remove requires_calibration_data from the recipe");
  }
  return finish();
}

std::vector<std::string> run_recipe(Recipe& recipe, const Model& model, RewritePlan& plan) {
  return RecipeRun(recipe, model, plan).finish_without_data();
}

}  // namespace spinor
