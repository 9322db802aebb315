// What to type after a comparison.
#pragma once

#include <optional>
#include <string>

#include "cli/calibration.h"
#include "cli/recipe.h"
#include "spinor/measure/compare.h"

namespace spinor::cli {

// The command that makes the variant of the model: with the options that compare had, or its recipe's file, which is to
// say the rest.
std::string advised_command(const measure::Variant& variant, const std::string& model, const RecipeOptions& recipe,
                            const CalibrationFlags& calibration, const CommonOptions& common);

}  // namespace spinor::cli
