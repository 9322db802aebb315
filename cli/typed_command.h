// Commands that are printed so that the user can type them: with all that changes what they do.
#pragma once

#include <string>

#include "cli/calibration.h"
#include "cli/recipe.h"

namespace spinor::cli {

// As a shell reads it.
std::string quoted(const std::string& text);

// " --rotations R1,R2 --seed 7 ...": the options that are given, or the recipe's file.
std::string typed_options(const RecipeOptions& recipe);
// " --calibration FILE ...": the text, and which pieces of it.
std::string typed_options(const CalibrationFlags& calibration);

}  // namespace spinor::cli
