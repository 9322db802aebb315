// What every command that runs a model as a recipe would make it is asked for.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/command.h"
#include "cli/recipe.h"
#include "cli/runtime_flags.h"
#include "spinor/job/job.h"

namespace spinor::cli {

struct ModelFlags {
  std::string model;
  RecipeOptions recipe;
  RuntimeFlags runtime;
  CommonOptions common;

  void add_model_to(CLI::App& app);
  void add_recipe_to(CLI::App& app);  // and how to run it
  // The model as the recipe makes it, or as it is stored; its warnings are given.
  Job planned(const Context& context) const;
};

}  // namespace spinor::cli
