// Whether to rotate: the recipe without rotations, with R1 and R2, with R1 to R4, over several seeds.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/calibration.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/torch/evaluation_flags.h"
#include "spinor/base/error.h"
#include "spinor/base/yaml.h"
#include "spinor/modifier/model_for.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/transform/automatic_type.h"
#include "spinor/transform/stored_online.h"

namespace spinor::cli {
namespace {

struct Variant {
  std::string name;
  std::vector<std::string> rotations;
  std::vector<uint64_t> seeds;
  std::vector<runtime::Evaluation> runs = {};  // one a seed

  double median(double (*of)(const runtime::Evaluation&)) const {
    std::vector<double> values;
    std::ranges::transform(runs, std::back_inserter(values), of);
    std::ranges::sort(values);
    const size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
  }
  double least() const { return perplexity(*std::ranges::min_element(runs, {}, perplexity)); }
  double most() const { return perplexity(*std::ranges::max_element(runs, {}, perplexity)); }
  uint64_t best_seed() const {
    return seeds[static_cast<size_t>(std::ranges::min_element(runs, {}, perplexity) - runs.begin())];
  }

  static double perplexity(const runtime::Evaluation& run) { return run.perplexity; }
  static double divergence(const runtime::Evaluation& run) { return run.divergence.value_or(0); }
};

// The recipe without what rotates, and with a SpinQuantModifier of these arguments in front.
Recipe with_rotations(const Json& recipe, const Json& spinquant) {
  Json result = Json::object();
  if (!spinquant.is_null()) result["rotate_stage"]["rotate_modifiers"]["SpinQuantModifier"] = spinquant;
  for (const auto& [stage_name, stage] : recipe.items())
    for (const auto& [group_name, group] : stage.items())
      for (const auto& [modifier, arguments] : group.items())
        if (modifier != "SpinQuantModifier" && modifier != "QuIPModifier")
          result[stage_name][group_name][modifier] = arguments;
  return result.empty() ? Recipe() : Recipe::parse(result.dump(), "recipe");
}

// What the recipe's own SpinQuantModifier says of the matrices.
Json spinquant_arguments(const Json& recipe) {
  for (const auto& stage : recipe)
    for (const auto& group : stage)
      if (group.contains("SpinQuantModifier")) return group["SpinQuantModifier"];
  return Json::object();
}

// A directory for what is deleted again.
class ScratchDirectory {
 public:
  ScratchDirectory() : path_(std::filesystem::temp_directory_path() / fmt::format("spinor-compare-{}", getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct CompareCommand : EvaluationFlags {
  CalibrationFlags calibration;
  int64_t seeds = 4;
  uint64_t first_seed = 1;

  int run() {
    if (!recipe.rotations.empty() || !recipe.quip.empty() || recipe.seed)
      throw Error("compare", "tries rotations and seeds of its own", "leave out --rotations, --quip and --seed");
    const Model described = open_model(model);
    const Json json = recipe.given() ? parse_yaml(recipe.make().yaml(), "recipe").value : Json::object();
    runtime::RuntimeOptions how = runtime.options(common);
    if (with_rotations(json, nullptr).steps().empty() && !how.activations && !how.kv)
      throw Error("compare", "nothing is quantized, and a rotation alone changes nothing",
                  "give --recipe or --scheme, or --activations and --kv");
    const std::vector<int32_t> tokens = text.tokens(described);
    options.bos = text.bos_token(described);
    std::vector<Variant> variants = make_variants();
    runtime::Reference original(as_stored(described), how, runtime::Reference::Keep::states);
    int64_t done = 0, all = 0;
    for (const Variant& variant : variants) all += std::ssize(variant.seeds);
    Progress progress("compare", !common.quiet && !common.json);
    for (Variant& variant : variants)
      for (const uint64_t seed : variant.seeds) {
        variant.runs.push_back(measure(described, original, json, variant, seed, tokens, how));
        progress.show(++done, all);
      }
    common.json ? print_json(variants) : print(variants);
    return 0;
  }

  std::vector<Variant> make_variants() const {
    std::vector<uint64_t> all;
    for (int64_t i = 0; i < seeds; ++i) all.push_back(first_seed + static_cast<uint64_t>(i));
    return {{"unrotated", {}, {0}}, {"R1+R2", {"R1", "R2"}, all}, {"R1-R4", {"R1", "R2", "R3", "R4"}, all}};
  }

  runtime::Evaluation measure(const Model& described, runtime::Reference& original, const Json& json,
                              const Variant& variant, uint64_t seed, const std::vector<int32_t>& tokens,
                              const runtime::RuntimeOptions& how) const {
    Json spinquant = spinquant_arguments(json);
    spinquant["rotations"] = variant.rotations;
    spinquant["seed"] = seed;
    const std::string type = spinquant.value("transform_type", "hadamard");
    if (type == "hadamard" || type == kAutomatic) spinquant["transform_type"] = kAutomaticRandom;  // seeds are compared
    Recipe steps = with_rotations(json, variant.rotations.empty() ? Json() : spinquant);
    const Model chosen = model_for(steps, described);
    Planned planned{chosen, std::move(steps), start_plan(chosen), {}};
    RecipeRun run(planned.recipe, planned.model, planned.plan);
    if (!planned.plan.needs_data().empty()) return measure_calibrated(planned, run, original, tokens, how);
    run.finish_without_data();
    return runtime::evaluate(planned.plan, original, tokens, options, how);
  }

  // What is measured is what would be written: it is written, and read back.
  runtime::Evaluation measure_calibrated(Planned& planned, RecipeRun& run, runtime::Reference& original,
                                         const std::vector<int32_t>& tokens, const runtime::RuntimeOptions& how) const {
    if (!calibration.given())
      throw Error("compare", "the recipe needs calibration data", "give --calibration FILE, another text than --text");
    const ScratchDirectory scratch;
    const std::filesystem::path out = scratch.path() / "model";
    SaveOptions save_options;
    save_options.threads = common.threads;
    CommonOptions silent = common;
    silent.quiet = true;
    calibrate_in(save_options, calibration, silent, planned, run, out.string());
    save(planned.plan, out, save_options);
    const Model written = Model::describe(Checkpoint::open(out));
    return runtime::evaluate(as_stored(written), original, tokens, options, how);
  }

  // The best rotation, if its median beats the unrotated model by more than its seeds are apart.
  static const Variant* verdict(const std::vector<Variant>& variants) {
    const Variant* best = nullptr;
    for (const Variant& variant : variants) {
      if (variant.rotations.empty()) continue;
      const double median = variant.median(Variant::perplexity);
      const double gain = variants.front().runs.front().perplexity - median;
      if (gain > variant.most() - variant.least() && (!best || median < best->median(Variant::perplexity)))
        best = &variant;
    }
    return best;
  }

  static std::string advice(const std::vector<Variant>& variants) {
    const Variant* best = verdict(variants);
    if (!best) return "Do not rotate: no rotation beats the unrotated model by more than its seeds are apart.";
    return fmt::format(
        "Rotate with {}: the median over {} seeds beats the unrotated model by more than they are apart. "
        "Best seed here: {}.",
        best->name, best->runs.size(), best->best_seed());
  }

  static void print_json(const std::vector<Variant>& variants) {
    Json rows = Json::array();
    for (const Variant& variant : variants) {
      Json runs = Json::array();
      for (size_t i = 0; i < variant.runs.size(); ++i)
        runs.push_back({{"seed", variant.seeds[i]},
                        {"perplexity", variant.runs[i].perplexity},
                        {"kl_divergence", *variant.runs[i].divergence}});
      rows.push_back({{"name", variant.name},
                      {"rotations", variant.rotations},
                      {"perplexity", variant.median(Variant::perplexity)},
                      {"kl_divergence", variant.median(Variant::divergence)},
                      {"runs", runs}});
    }
    const runtime::Evaluation& first = variants.front().runs.front();
    const Variant* best = verdict(variants);
    const Json json = {{"original_perplexity", *first.reference_perplexity},
                       {"tokens", first.tokens},
                       {"variants", rows},
                       {"rotate", best ? Json(best->rotations) : Json(false)},
                       {"advice", advice(variants)}};
    cli::print_json(json);
  }

  static void print(const std::vector<Variant>& variants) {
    const runtime::Evaluation& first = variants.front().runs.front();
    fmt::print("{} tokens; the original model's perplexity is {:.4f}\n\n", first.tokens, *first.reference_perplexity);
    fmt::print("{:<10} {:>5}  {:>12} {:>25}  {:>12}\n", "", "seeds", "perplexity", "least to most", "KL nats/token");
    for (const Variant& variant : variants)
      fmt::print("{:<10} {:>5}  {:>12.4f} {:>25}  {:>12.4f}\n", variant.name, variant.runs.size(),
                 variant.median(Variant::perplexity),
                 variant.runs.size() > 1 ? fmt::format("{:.4f} to {:.4f}", variant.least(), variant.most()) : "",
                 variant.median(Variant::divergence));
    fmt::print("\n{}\n", advice(variants));
  }
};

}  // namespace

Runner compare_command(CLI::App& app) {
  const auto command = std::make_shared<CompareCommand>();
  command->add_to(app);
  command->calibration.add_to(app);
  const auto option = [](CLI::Option* o) { return o->capture_default_str(); };
  option(app.add_option("--seeds", command->seeds, "Random matrices of each kind to try"))->check(CLI::Range(1, 1000));
  option(app.add_option("--first-seed", command->first_seed, "The seeds count up from here"));
  return [command] { return command->run(); };
}

}  // namespace spinor::cli
