#include "spinor/modifier/model_for.h"

#include "spinor/model/linear_experts.h"
#include "spinor/model/quantization_targets.h"
#include "spinor/modifier/quantization_modifier.h"

namespace spinor {

Model model_for(const Recipe& recipe, const Model& model) {
  for (const RecipeStep& step : recipe.steps())
    if (const auto* quantization = dynamic_cast<const QuantizationModifier*>(step.modifier.get()))
      if (quantizes_experts(quantization->config(), model)) return *with_linear_experts(model);
  return model;
}

}  // namespace spinor
