// The form of a model that a recipe needs.
#pragma once

#include "spinor/modifier/recipe.h"

namespace spinor {

// With its stacked experts one by one if a modifier quantizes some of them, as llm-compressor has them then; else as it
// is. Error as of with_quantized_experts().
Model model_for(const Recipe& recipe, const Model& model);

}  // namespace spinor
