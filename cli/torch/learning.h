// What learning takes from the command line.
#pragma once

#include "cli/calibration.h"
#include "spinor/learning/learn_recipe.h"

namespace spinor::cli {

// What --calibration-bos puts before each window; nothing without it. Error if the tokenizer has none.
std::optional<int32_t> bos_token(const CalibrationFlags& flags, const Model& model);
// The text of --calibration in the model's tokens.
learning::LearningText read_learning_text(const CalibrationFlags& flags, const Model& model);
// Device, threads and memory.
learning::LearnerOptions learner_options(const CalibrationFlags& flags, const CommonOptions& common);

}  // namespace spinor::cli
