#include "cli/rotation.h"

#include <fmt/format.h>

#include <cstdio>

#include "spinor/base/error.h"
#include "spinor/base/yaml.h"
#include "spinor/io/checkpoint.h"
#include "spinor/io/checkpoint_writer.h"
#include "spinor/model/hub.h"
#include "spinor/modifier/oneshot.h"

namespace spinor::cli {
namespace {

// The options as a recipe of one SpinQuantModifier: the command line and a file go the same way.
Json recipe_of(const RotationOptions& options) {
  Json arguments = Json::object();
  if (!options.rotations.empty()) arguments["rotations"] = options.rotations;
  if (!options.transform_type.empty()) arguments["transform_type"] = options.transform_type;
  if (!options.precision.empty()) arguments["precision"] = options.precision;
  if (!options.compat.empty()) arguments["compat"] = options.compat;
  if (options.seed) arguments["seed"] = *options.seed;
  if (options.block_size) arguments["transform_block_size"] = *options.block_size;
  if (options.randomize) arguments["randomize"] = true;
  if (options.center_embeddings) arguments["center_embeddings"] = true;
  return {{"default_stage", {{"default_modifiers", {{"SpinQuantModifier", arguments}}}}}};
}

}  // namespace

void RotationOptions::add_to(CLI::App& app) {
  CLI::Option* file = app.add_option("--recipe", recipe,
                                     "A recipe (YAML or JSON) with a SpinQuantModifier, instead of "
                                     "the options below");
  const auto option = [&](CLI::Option* o) { return o->group("Rotation")->excludes(file); };
  option(app.add_option("--rotations", rotations, "R1 (residual stream), R2 (value heads); default R1,R2"))
      ->delimiter(',');
  option(app.add_option("--transform-type", transform_type,
                        "hadamard (default), random-hadamard, random-matrix or random-orthogonal"));
  option(app.add_option("--seed", seed, "Seed of the random types; default as compressed-tensors: 67280421310721"));
  option(app.add_option("--block-size", block_size, "R1 as a block-diagonal matrix with blocks of this size"));
  option(app.add_flag("--randomize", randomize, "Permute each matrix at random"));
  option(app.add_option("--precision", precision, "Arithmetic: float64 (default) or float32"));
  option(app.add_flag("--center-embeddings", center_embeddings,
                      "Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models"));
  option(app.add_option("--compat", compat, "llm-compressor: do what it does, also where that is not exact"));
}

bool RotationOptions::given() const {
  return !recipe.empty() || !rotations.empty() || !transform_type.empty() || seed || block_size || randomize ||
         center_embeddings || !compat.empty() || !precision.empty();
}

void OutputOptions::add_to(CLI::App& app) {
  app.add_option("--dtype", dtype, "float64, float32, float16 or bfloat16; default as the source")->group("Output");
  app.add_option("--max-shard-size", max_shard_size, "Largest file, e.g. 5GB or 500MB")
      ->group("Output")
      ->capture_default_str();
}

SaveOptions OutputOptions::save_options() const {
  SaveOptions options;
  options.max_shard_bytes = parse_size(max_shard_size);
  if (dtype.empty()) return options;
  const DTypeInfo* found = find_dtype(dtype);
  if (!found || !found->editable)
    throw Error("--dtype", fmt::format("'{}' is not a type weights can be saved in", dtype),
                "use float64, float32, float16 or bfloat16");
  options.dtype = found->dtype;
  return options;
}

PlannedRotation plan_rotation(const std::string& model, const RotationOptions& options) {
  Recipe recipe =
      options.recipe.empty() ? Recipe::parse(recipe_of(options).dump(), "command line") : Recipe::load(options.recipe);
  const Checkpoint checkpoint = Checkpoint::open(resolve_model(model));
  // An unknown architecture is for the modifiers to refuse: with mappings of the user's own they can do without its
  // row.
  const Model described = Model::describe(checkpoint, {.accept_unknown = true});
  PlannedRotation planned{described, std::move(recipe), RewritePlan(described), {}};
  planned.warnings = run_recipe(planned.recipe, planned.model, planned.plan);
  return planned;
}

Json PlannedRotation::recipe_json() const {
  return parse_yaml(recipe.yaml(), "recipe").value;
}

void print_warnings(const PlannedRotation& planned) {
  for (const std::string& warning : planned.warnings) fmt::print(stderr, "warning: {}\n", warning);
}

}  // namespace spinor::cli
