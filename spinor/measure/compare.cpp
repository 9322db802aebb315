#include "spinor/measure/compare.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/base/yaml.h"
#include "spinor/job/job.h"
#include "spinor/transform/automatic_type.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/stored_online.h"

namespace spinor::measure {
namespace {

double perplexity_of(const runtime::Evaluation& run) {
  return run.perplexity;
}
double divergence_of(const runtime::Evaluation& run) {
  return run.divergence.value_or(0);
}

double median(const std::vector<runtime::Evaluation>& runs, double (*of)(const runtime::Evaluation&)) {
  std::vector<double> values;
  std::ranges::transform(runs, std::back_inserter(values), of);
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

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

bool has_modifier(const Json& recipe, const char* name) {
  for (const auto& stage : recipe)
    for (const auto& group : stage)
      if (group.contains(name)) return true;
  return false;
}

Json own_arguments(const Json& recipe) {
  Json arguments = Json::object();
  for (const auto& stage : recipe)
    for (const auto& group : stage)
      if (group.contains("SpinQuantModifier") && !group["SpinQuantModifier"].is_null())
        arguments = group["SpinQuantModifier"];
  return arguments;
}

// What the recipe's own SpinQuantModifier says of the matrices. Seeds are compared, so that the type is a random one.
Json spinquant_arguments(const Json& recipe) {
  Json arguments = own_arguments(recipe);
  // What rows have of their own.
  for (const char* key : {"learnable", "seeds", "transform_config"}) arguments.erase(key);
  const std::string type = arguments.value("transform_type", "hadamard");
  arguments["transform_type"] = type == "hadamard" || type == kAutomatic ? std::string(kAutomaticRandom) : type;
  return arguments;
}

// "R1+R2", "R2-R4".
std::string name_of_rotations(const std::vector<std::string>& rotations) {
  const bool run = rotations.size() > 2 && rotations.back()[1] - rotations.front()[1] == std::ssize(rotations) - 1;
  return run ? rotations.front() + "-" + rotations.back() : fmt::format("{}", fmt::join(rotations, "+"));
}

// What learn_recipe() is to learn: as the recipe says, as far as it is legal.
void make_learnable(Json& spinquant, const std::vector<std::string>& legal) {
  spinquant["learnable"] = true;
  const Json asked = spinquant.value("learning", Json::object()).value("rotations", Json{"R1"});
  Json rotations = Json::array();
  for (const Json& name : asked)
    if (!name.is_string() || contains(legal, name.get<std::string>())) rotations.push_back(name);
  spinquant["learning"]["rotations"] = rotations;
}

bool asks_for_gradients(const Json& spinquant) {
  const Json config = spinquant.value("transform_config", Json::object());
  if (!config.is_object() || !config.contains("config_groups") || !config["config_groups"].is_object()) return false;
  return std::ranges::any_of(config["config_groups"], [](const Json& group) {
    return group.is_object() && group.value("requires_grad", false);
  });
}

// The rows that take a text: all that is legal, the best of several seeds, and learned.
void plan_learning(const std::vector<std::string>& legal, const Json& recipe, const CompareOptions& options,
                   Comparison& comparison) {
  const Json own = own_arguments(recipe);
  const bool learnable = own.value("learnable", false) || asks_for_gradients(own);
  if (learnable && !options.learning)
    comparison.left_out.push_back("learned: the recipe's rotations are learnable, and there is no calibration text");
  if (!options.learning) return;
  const Variant all{name_of_rotations(legal), legal, {options.first_seed}};
  const int64_t best_of = std::max(options.learning->best_of, own.value("seeds", int64_t{1}));
  if (best_of > 1 && contains(legal, std::string("R1"))) {
    comparison.variants.push_back(all);
    comparison.variants.back().name += fmt::format(" best of {}", best_of);
    comparison.variants.back().best_of = best_of;
  } else if (best_of > 1) {
    comparison.left_out.push_back("best of several seeds: they are compared by R1");
  }
  if (!learnable && !options.learning->learned) return;
  comparison.variants.push_back(all);
  comparison.variants.back().name += " learned";
  comparison.variants.back().learned = true;
}

// Unrotated; what is free, R1 and R2; and with what runs online, R3 and R4: as far as they are legal.
Comparison planned_comparison(const Model& model, const Json& recipe, const CompareOptions& options) {
  Comparison comparison{{{"unrotated", {}, {0}}}, {}};
  std::vector<std::string> legal, offline;
  for (const Legality& one : legality(model)) {
    const std::string name(name_in_table(one.rotation));
    if (!one.reason.empty()) {
      comparison.left_out.push_back(name + ": " + one.reason);
      continue;
    }
    legal.push_back(name);
    if (one.rotation == Spin::R1 || one.rotation == Spin::R2) offline.push_back(name);
  }
  if (own_arguments(recipe).contains("transform_config"))
    comparison.left_out.push_back("transform_config: rows rotate by R1 to R4 instead");
  if (has_modifier(recipe, "QuIPModifier"))
    comparison.left_out.push_back("QuIPModifier: rows rotate by R1 to R4 instead");
  if (legal.empty()) throw Error("compare", "no rotation leaves this model's function alone", "see spinor inspect");
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < options.seeds; ++i) seeds.push_back(options.first_seed + static_cast<uint64_t>(i));
  for (const auto& rotations : {offline, legal})
    if (!rotations.empty() && rotations != comparison.variants.back().rotations)
      comparison.variants.push_back({name_of_rotations(rotations), rotations, seeds});
  plan_learning(legal, recipe, options, comparison);
  return comparison;
}

// A directory for what is deleted again.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(std::string_view name)
      : path_(std::filesystem::temp_directory_path() / fmt::format("spinor-compare-{}-{}", getpid(), name)) {
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

// Of one variant after the other.
class Measurement {
 public:
  Measurement(const Model& model, const Json& recipe, std::span<const int32_t> text, const CompareOptions& options)
      : model_(model),
        recipe_(recipe),
        text_(text),
        options_(options),
        original_(as_stored(model), options.runtime, runtime::Reference::Keep::states) {}

  // Of what is chosen or learned: its seed and its record go into the variant.
  runtime::Evaluation run(Variant& variant, uint64_t& seed) {
    Json spinquant = spinquant_arguments(recipe_);
    spinquant["rotations"] = variant.rotations;
    spinquant["seed"] = seed;
    variant.transform_type = spinquant["transform_type"];
    const bool learns = variant.best_of > 1 || variant.learned;
    if (learns) prepare_learning(spinquant);
    if (variant.best_of > 1) spinquant["seeds"] = variant.best_of;
    if (variant.learned) make_learnable(spinquant, variant.rotations);
    Recipe steps = with_rotations(recipe_, variant.rotations.empty() ? Json() : spinquant);
    const ScratchDirectory scratch("learned");
    if (learns) variant.learning = learn(steps, scratch.path());
    if (variant.best_of > 1) seed = variant.learning["seeds"]["chosen"].get<uint64_t>();
    Job job(model_, std::move(steps));
    if (job.plan().needs_data().empty()) return evaluate(job.finished_plan());
    variant.calibrated = true;
    return written(job);
  }

 private:
  void prepare_learning(Json& spinquant) const {
    for (const char* key : {"rotation_file", "rotation_digest"}) spinquant.erase(key);
    if (options_.learning->context) spinquant["learning"].emplace("context", *options_.learning->context);
  }

  Json learn(Recipe& steps, const std::filesystem::path& scratch) const {
    learning::RecipeLearning how{.learner = options_.learning->learner, .file = scratch / "learned.safetensors"};
    how.learner.scratch = scratch;
    return learning::learn_recipe(steps, model_, options_.learning->text, how).record;
  }

  // What is measured is what would be written: it is written, and read back.
  runtime::Evaluation written(Job& job) {
    if (!options_.calibrator)
      throw Error("compare", "the recipe needs calibration data", "give --calibration FILE, another text than --text");
    const ScratchDirectory scratch("model");
    const std::filesystem::path out = scratch.path() / "model";
    job.save(out, {.files = {.threads = options_.runtime.threads}, .calibrator = options_.calibrator});
    return evaluate(as_stored(Model::describe(Checkpoint::open(out))));
  }

  runtime::Evaluation evaluate(const RewritePlan& plan) {
    return runtime::evaluate(plan, original_, text_, options_.windows, options_.runtime);
  }

  const Model& model_;
  const Json& recipe_;
  std::span<const int32_t> text_;
  const CompareOptions& options_;
  runtime::Reference original_;
};

}  // namespace

double Variant::perplexity() const {
  return median(runs, perplexity_of);
}
double Variant::kl_divergence() const {
  return median(runs, divergence_of);
}
double Variant::least() const {
  return std::ranges::min_element(runs, {}, perplexity_of)->perplexity;
}
double Variant::most() const {
  return std::ranges::max_element(runs, {}, perplexity_of)->perplexity;
}
uint64_t Variant::best_seed() const {
  return seeds[static_cast<size_t>(std::ranges::min_element(runs, {}, perplexity_of) - runs.begin())];
}

double Comparison::original_perplexity() const {
  return *variants.front().runs.front().reference_perplexity;
}
int64_t Comparison::tokens() const {
  return variants.front().runs.front().tokens;
}

const Variant* Comparison::verdict() const {
  const Variant* best = nullptr;
  std::map<std::vector<std::string>, double> apart;
  for (const Variant& variant : variants) {
    double& most = apart[variant.rotations];
    most = std::max(most, variant.most() - variant.least());
  }
  for (const Variant& variant : variants) {
    if (variant.rotations.empty()) continue;
    const double gain = variants.front().perplexity() - variant.perplexity();
    if (gain > apart[variant.rotations] && (!best || variant.perplexity() < best->perplexity())) best = &variant;
  }
  return best;
}

std::string Comparison::advice() const {
  const Variant* best = verdict();
  if (!best) return "Do not rotate: no rotation beats the unrotated model by more than its seeds are apart.";
  if (best->best_of > 1 || best->learned)
    return fmt::format("Rotate with {}: it beats the unrotated model by more than seeds are apart.", best->name);
  return fmt::format(
      "Rotate with {}: the median over {} seeds beats the unrotated model by more than they are apart. "
      "Best seed here: {}.",
      best->name, best->runs.size(), best->best_seed());
}

Comparison compare(const Model& model, const Recipe& recipe, std::span<const int32_t> text,
                   const CompareOptions& options) {
  const Json json = recipe.steps().empty() ? Json::object() : parse_yaml(recipe.yaml(), "recipe").value;
  if (with_rotations(json, nullptr).steps().empty() && !options.runtime.activations && !options.runtime.kv)
    throw Error("compare", "nothing is quantized, and a rotation alone changes nothing",
                "give --recipe or --scheme, or --activations and --kv");
  Comparison comparison = planned_comparison(model, json, options);
  Measurement measurement(model, json, text, options);
  int64_t done = 0, all = 0;
  for (const Variant& variant : comparison.variants) all += std::ssize(variant.seeds);
  for (Variant& variant : comparison.variants)
    for (uint64_t& seed : variant.seeds) {
      variant.runs.push_back(measurement.run(variant, seed));
      if (options.progress) options.progress(++done, all);
    }
  return comparison;
}

}  // namespace spinor::measure
