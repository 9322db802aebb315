// The options that say what shall be done, and the plan they make. rotate, quantize, plan and inspect share them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "spinor/modifier/recipe.h"
#include "spinor/plan/save.h"

namespace spinor::cli {

struct RecipeOptions {
  std::string recipe;  // a file; or the options below
  // Of a SpinQuantModifier.
  std::vector<std::string> rotations;
  std::string transform_type, precision, compat, mtp, rotation;
  std::optional<uint64_t> seed;
  std::optional<int64_t> block_size;
  bool randomize = false, center_embeddings = false, vision = false;
  // Of a QuIPModifier (which has the type, seed, block size and precision above) and a QuantizationModifier.
  std::vector<std::string> quip, targets, ignore;
  std::optional<int64_t> group_size;
  std::string scheme, observer, format;

  void add_rotation_to(CLI::App& app);
  void add_quantization_to(CLI::App& app);
  bool given() const;      // anything at all
  bool quantizes() const;  // by options
  // The recipe: the file's, or a SpinQuantModifier (if it is asked for, or nothing is), a QuIPModifier and a
  // QuantizationModifier (if they are asked for).
  Recipe make() const;

 private:
  CLI::Option* file_ = nullptr;
};

// How the output is written.
struct OutputOptions {
  std::string dtype, max_shard_size = "5GB";

  void add_to(CLI::App& app);
  SaveOptions save_options() const;
};

// A model and what a recipe makes of it.
struct Planned {
  Model model;
  Recipe recipe;
  RewritePlan plan;
  std::vector<std::string> warnings;

  Json recipe_json() const;
};
// An unknown architecture is for the modifiers to refuse: with mappings of the user's own they can do without its row.
Model open_model(const std::string& model);
Planned plan_recipe(const std::string& model, const RecipeOptions& options);
// The same before the recipe has run: nothing is planned yet.
Planned start_recipe(const std::string& model, const RecipeOptions& options);
// The model as it is, its online transforms online.
Planned plan_as_stored(const std::string& model);
// A quantized model as numbers, nothing else done to it.
Planned plan_dequantized(const std::string& model);
// The model with the rotations undone that its recipe or config.json names. `rotation`: where the file of its own
// matrices is now; empty: where the recipe says.
Planned plan_inverse(const std::string& model, const std::string& rotation);
void print_warnings(const Planned& planned, size_t first = 0);  // to stderr

}  // namespace spinor::cli
