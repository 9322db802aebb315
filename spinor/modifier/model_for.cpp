#include "spinor/modifier/model_for.h"

namespace spinor {

Model model_for(const Recipe& recipe, const Model& model) {
  for (const RecipeStep& step : recipe.steps())
    if (const std::optional<Model> form = step.modifier->form_of(model)) return *form;
  return model;
}

}  // namespace spinor
