#include "spinor/modifier/oneshot.h"

#include <utility>

#include "spinor/base/error.h"

namespace spinor {

RecipeRun::RecipeRun(Recipe& recipe, const Model& model, RewritePlan& plan)
    : recipe_(recipe), model_(model), plan_(plan) {
  recipe_.begin();
  for (const RecipeStep& step : recipe_.steps()) {
    step.modifier->prepare(model_, plan_, warnings_);
    if (step.modifier->acts_at_once()) rewrite(*step.modifier);
  }
  for (const RecipeStep& step : recipe_.steps())
    if (!step.modifier->acts_at_once()) rewrite(*step.modifier);
}

void RecipeRun::rewrite(Modifier& modifier) {
  RewritePlan changed = plan_;
  modifier.rewrite(model_, changed, warnings_);
  plan_ = std::move(changed);
}

void RecipeRun::send(const CalibrationEvent& event) {
  for (const RecipeStep& step : recipe_.steps()) {
    const int64_t before = plan_.revision();
    step.modifier->on_calibration(event, warnings_);
    if (plan_.revision() != before)
      throw Error(step.modifier->name(), "changes the plan while the model is calibrated with it",
                  "leave start out of the recipe, or set start: 0");
  }
}

std::vector<std::string> RecipeRun::finish() {
  for (const RecipeStep& step : recipe_.steps())
    step.modifier->on_calibration({.kind = CalibrationEvent::Kind::end}, warnings_);
  for (const RecipeStep& step : recipe_.steps()) step.modifier->finish(warnings_);
  return std::move(warnings_);
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
