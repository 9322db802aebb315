#include "cli/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "spinor/base/error.h"
#include "spinor/io/checkpoint_writer.h"
#include "spinor/quant/presets.h"
#include "spinor/tokenizer/utf8.h"
#include "spinor/transform/automatic_type.h"

namespace spinor::cli {
namespace {

bool is_text(const std::string& recipe) {
  return recipe.find('\n') != std::string::npos;
}

// What a SpinQuantModifier and a QuIPModifier have in common, but for a type that is not given.
Json transform_arguments(const RecipeOptions& options) {
  Json arguments = Json::object();
  if (!options.transform_type.empty()) arguments["transform_type"] = options.transform_type;
  if (!options.precision.empty()) arguments["precision"] = options.precision;
  if (options.seed) arguments["seed"] = *options.seed;
  if (options.block_size) arguments["transform_block_size"] = *options.block_size;
  if (options.randomize) arguments["randomize"] = true;
  return arguments;
}

// The recipe of the output is YAML.
const std::string& utf8_path(const std::string& path) {
  if (tokenizer::repair_utf8(path) == path) return path;
  throw Error("--rotation", "is not UTF-8, so that no recipe can name the file", "give the file another name");
}

Json spinquant_arguments(const RecipeOptions& options) {
  Json arguments = Json::object();
  if (!options.rotations.empty()) arguments["rotations"] = options.rotations;
  arguments.update(transform_arguments(options));
  arguments.emplace("transform_type", options.learn ? kAutomaticRandom : kAutomatic);
  if (!options.compat.empty()) arguments["compat"] = options.compat;
  if (!options.rotation.empty()) arguments["rotation_file"] = utf8_path(options.rotation);
  if (options.center_embeddings) arguments["center_embeddings"] = true;
  if (options.vision) arguments["vision"] = true;
  if (!options.mtp.empty()) arguments["mtp"] = options.mtp;
  if (options.learn) arguments["learnable"] = true;
  if (options.learning_context && (options.learn || options.best_of))
    arguments["learning"]["context"] = *options.learning_context;
  if (!options.objective.empty()) arguments["learning"]["objective"] = options.objective;
  if (options.best_of) arguments["seeds"] = *options.best_of;
  if (options.best_of && options.transform_type.empty()) arguments["transform_type"] = kAutomaticRandom;
  return arguments;
}

Json quantization_arguments(const RecipeOptions& options) {
  const std::vector<std::string> targets =
      options.targets.empty() ? std::vector<std::string>{"Linear"} : options.targets;
  Json arguments = {{"targets", targets}, {"ignore", options.ignore}, {"scheme", options.scheme}};
  if (options.group_size) {
    arguments.erase("scheme");
    arguments["config_groups"]["group_0"] =
        write_fields(preset_in_groups(options.scheme, targets, *options.group_size, {"--group-size", "--group-size"}));
  }
  if (options.ignore.empty()) arguments["ignore"] = "lm_head";
  if (!options.observer.empty()) arguments["observer"] = options.observer;
  if (!options.format.empty()) arguments["format"] = options.format;
  if (!options.compat.empty()) arguments["compat"] = options.compat;
  return arguments;
}

}  // namespace

void RecipeOptions::add_rotation_to(CLI::App& app) {
  file_ = app.add_option("--recipe", recipe,
                         "A recipe (YAML or JSON), instead of the options below: a file, or text of several lines");
  const auto option = [&](CLI::Option* o) { return o->group("Rotation")->excludes(file_); };
  option(app.add_option("--rotations", rotations,
                        "R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj); "
                        "rotate's default: R1,R2"))
      ->delimiter(',');
  option(app.add_option("--transform-type", transform_type,
                        "auto (default): hadamard where a power of two, else random-hadamard where that is known, else "
                        "random-orthogonal; "
                        "auto-random: without the first; or one of these, or random-matrix"));
  option(app.add_option("--rotation", rotation,
                        "A safetensors file of matrices of your own, R1 and R2 or R2.<layer>, orthogonal, and of exact "
                        "scales; rotations that it does not have are drawn"));
  option(app.add_option("--seed", seed, "Seed of the random types; default as compressed-tensors: 67280421310721"));
  option(app.add_option("--block-size", block_size, "R1 and R4 as block-diagonal matrices with blocks of this size"));
  option(app.add_flag("--randomize", randomize, "Permute each matrix at random"));
  option(app.add_option("--precision", precision, "Arithmetic: float64 (default) or float32"));
  option(app.add_flag("--vision", vision, "An R1 of its own for the residual stream of the vision tower"));
  option(app.add_option("--mtp", mtp,
                        "Layers for multi-token prediction that R1 would change: drop (left out) or approximate"));
  option(app.add_flag("--center-embeddings", center_embeddings,
                      "Subtract each embedding's mean first, as llm-compressor does; changes RMSNorm models"));
  option(app.add_option("--compat", compat, "llm-compressor: do what it does, also where that is not exact"));
}

void RecipeOptions::add_learning_to(CLI::App& app) {
  const auto option = [&](CLI::Option* o) { return o->group("Rotation")->excludes(file_); };
  option(app.add_flag("--learn", learn,
                      "Learn R1, and scales beside it, from the text of --calibration, in windows of "
                      "--calibration-context tokens (512); kept only where held-out text says that they help"));
  option(app.add_option("--best-of", best_of, "Try so many seeds, from --seed on, on that text, and take the best"))
      ->check(CLI::PositiveNumber);
  add_objective_to(app);
}

void RecipeOptions::add_objective_to(CLI::App& app) {
  app.add_option(
         "--objective", objective,
         "What learning makes small (docs/learning.md): psot (default) and others of rows; kl and cross_entropy "
         "of the whole quantized network, which takes longer")
      ->group("Rotation")
      ->excludes(file_);
}

void RecipeOptions::add_quantization_to(CLI::App& app) {
  const auto option = [&](CLI::Option* o) { return o->group("Quantization")->excludes(file_); };
  option(app.add_option("--scheme", scheme, "A preset: W4A16, W8A8, FP8_DYNAMIC, MXFP4A16, ..."));
  option(app.add_option("--group-size", group_size,
                        "Columns that share a scale, in a scheme with groups: 64 instead of its 128"))
      ->check(CLI::PositiveNumber);
  option(app.add_option("--targets", targets, "Modules to quantize: names, re: regexes, classes; default Linear"))
      ->delimiter(',');
  option(app.add_option("--ignore", ignore, "Modules to leave as they are; default lm_head"))->delimiter(',');
  option(app.add_option("--observer", observer,
                        "How scales are found: minmax (default), mse, or imatrix_mse, which needs --calibration"));
  option(app.add_option("--format", format,
                        "As in compressed-tensors; dense: quantized, then stored as numbers, rotated back where a "
                        "loader would have to rotate; default by the scheme"));
  option(app.add_option("--quip", quip, "QuIP's rotations of every linear: v (input side), u (output side); online"))
      ->delimiter(',');
}

bool RecipeOptions::given() const {
  return !recipe.empty() || !rotations.empty() || !rotation.empty() || center_embeddings || vision || learn ||
         best_of || !objective.empty() || !mtp.empty() || !compat.empty() || quantizes() ||
         !transform_arguments(*this).empty();
}

bool RecipeOptions::quantizes() const {
  return !scheme.empty() || !quip.empty() || !targets.empty() || !ignore.empty() || !observer.empty() ||
         !format.empty() || group_size;
}

std::string RecipeOptions::recipe_name() const {
  return is_text(recipe) ? "recipe" : recipe;
}

Recipe RecipeOptions::make() const {
  if (!recipe.empty()) return is_text(recipe) ? Recipe::parse(recipe, recipe_name()) : Recipe::load(recipe);
  if (scheme.empty() && (!targets.empty() || !ignore.empty() || !observer.empty() || !format.empty() || group_size))
    throw Error("command line", "says how to quantize, or what, but not to which scheme",
                "give --scheme W4A16, or another preset");
  if (!objective.empty() && !learn)
    throw Error("--objective", "is what rotations are learned by, and nothing is to be learned", "give --learn");
  if (learn && !rotation.empty())
    throw Error("--rotation", "gives what is to be learned", "leave it out to learn, or --learn to use the file");
  Json modifiers = Json::object();
  if (!rotations.empty() || !rotation.empty() || center_embeddings || vision || learn || best_of || !mtp.empty() ||
      !quantizes())
    modifiers["SpinQuantModifier"] = spinquant_arguments(*this);
  if (!quip.empty()) {
    modifiers["QuIPModifier"] = transform_arguments(*this);
    modifiers["QuIPModifier"].emplace("transform_type", kAutomaticRandom);
    modifiers["QuIPModifier"]["rotations"] = quip;
  }
  if (!scheme.empty()) modifiers["QuantizationModifier"] = quantization_arguments(*this);
  const Json json = {{"default_stage", {{"default_modifiers", modifiers}}}};
  return Recipe::parse(json.dump(), "command line");
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

}  // namespace spinor::cli
