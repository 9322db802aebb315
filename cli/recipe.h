// The options that say what shall be done, as a recipe. rotate, quantize, plan and inspect share them.
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
  std::string recipe;  // a file, or its text: that has several lines; or the options below
  // Of a SpinQuantModifier.
  std::vector<std::string> rotations;
  std::string transform_type, precision, compat, mtp, rotation, objective;
  std::optional<uint64_t> seed;
  std::optional<int64_t> block_size, best_of;
  std::optional<int64_t> learning_context;  // not an option of its own: that of calibration
  bool randomize = false, center_embeddings = false, vision = false, learn = false;
  // Of a QuIPModifier (which has the type, seed, block size and precision above) and a QuantizationModifier.
  std::vector<std::string> quip, targets, ignore;
  std::optional<int64_t> group_size;
  std::string scheme, observer, format;

  void add_rotation_to(CLI::App& app);
  void add_learning_to(CLI::App& app);   // for the commands that have a text to learn from
  void add_objective_to(CLI::App& app);  // a part of that
  void add_quantization_to(CLI::App& app);
  std::string recipe_name() const;  // of the recipe, for messages
  bool given() const;               // anything at all
  bool quantizes() const;           // by options
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

}  // namespace spinor::cli
