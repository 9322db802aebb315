// What eval and compare are asked for: a model, a text, its windows, a recipe, and how to run.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/command.h"
#include "cli/recipe.h"
#include "cli/runtime_flags.h"
#include "cli/text.h"
#include "spinor/runtime/evaluate.h"

namespace spinor::cli {

struct EvaluationFlags {
  std::string model;
  RecipeOptions recipe;
  TextOptions text;
  runtime::EvaluateOptions options;
  RuntimeFlags runtime;
  CommonOptions common;

  void add_to(CLI::App& app);
};

}  // namespace spinor::cli
