// What eval and compare are asked for: a model, a text, its windows, a recipe, and how to run.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/text.h"
#include "cli/torch/model_flags.h"
#include "spinor/runtime/evaluate.h"

namespace spinor::cli {

struct EvaluationFlags : ModelFlags {
  TextOptions text;
  runtime::EvaluateOptions options;

  void add_to(CLI::App& app);
};

}  // namespace spinor::cli
