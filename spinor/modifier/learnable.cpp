#include "spinor/modifier/learnable.h"

#include <utility>

#include "spinor/base/error.h"
#include "spinor/modifier/recipe.h"

namespace spinor {

std::optional<LearningTask> find_to_learn(const Recipe& recipe, const Model& model) {
  std::optional<LearningTask> task;
  for (const RecipeStep& step : recipe.steps()) {
    auto* learnable = dynamic_cast<Learnable*>(step.modifier.get());
    std::optional<Learnable::Request> request = learnable ? learnable->to_learn(model) : std::nullopt;
    if (!request) continue;
    if (&step != &recipe.steps().front())
      throw Error(step.modifier->name(), "is to learn, and is not the first modifier of the recipe", "put it first");
    task = {step.modifier.get(), learnable, std::move(*request)};
  }
  return task;
}

}  // namespace spinor
