// The options that say which rotation, and the plan they make. rotate, plan and inspect share them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "spinor/modifier/recipe.h"
#include "spinor/plan/save.h"

namespace spinor::cli {

struct RotationOptions {
  std::string recipe;  // a file; or the options below
  std::vector<std::string> rotations;
  std::string transform_type, precision, compat;
  std::optional<uint64_t> seed;
  std::optional<int64_t> block_size;
  bool randomize = false, center_embeddings = false;

  void add_to(CLI::App& app);
  bool given() const;  // a rotation was asked for
};

// How the output is written.
struct OutputOptions {
  std::string dtype, max_shard_size = "5GB";

  void add_to(CLI::App& app);
  SaveOptions save_options() const;
};

// A model and what a recipe makes of it.
struct PlannedRotation {
  Model model;
  Recipe recipe;
  RewritePlan plan;
  std::vector<std::string> warnings;

  Json recipe_json() const;
};
PlannedRotation plan_rotation(const std::string& model, const RotationOptions& options);
void print_warnings(const PlannedRotation& planned);  // to stderr

}  // namespace spinor::cli
