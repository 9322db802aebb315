// Whether to rotate: the recipe without rotations, and with those that are legal, over several seeds.
#include "spinor/measure/compare.h"

#include <ATen/Version.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "cli/calibration.h"
#include "cli/torch/advised_command.h"
#include "cli/torch/evaluation_flags.h"
#include "cli/torch/learning.h"
#include "spinor/base/error.h"

namespace spinor::cli {
namespace {

Json comparison_json(const measure::Comparison& comparison, const std::string& command) {
  Json rows = Json::array();
  for (const measure::Variant& variant : comparison.variants) {
    Json runs = Json::array();
    for (size_t i = 0; i < variant.runs.size(); ++i)
      runs.push_back({{"seed", variant.seeds[i]},
                      {"perplexity", variant.runs[i].perplexity},
                      {"kl_divergence", *variant.runs[i].divergence}});
    Json row = {{"name", variant.name},
                {"rotations", variant.rotations},
                {"perplexity", variant.perplexity()},
                {"kl_divergence", variant.kl_divergence()},
                {"runs", runs}};
    if (!variant.learning.is_null()) row["learning"] = variant.learning;
    rows.push_back(std::move(row));
  }
  const measure::Variant* best = comparison.verdict();
  return Json{{"original_perplexity", comparison.original_perplexity()},
              {"tokens", comparison.tokens()},
              {"variants", rows},
              {"left_out", comparison.left_out},
              {"rotate", best ? Json(best->rotations) : Json(false)},
              {"advice", comparison.advice()},
              {"command", command.empty() ? Json() : Json(command)}};
}

std::string comparison_text(const measure::Comparison& comparison, const std::string& command) {
  std::string text;
  for (const std::string& reason : comparison.left_out) text += fmt::format("left out {}\n", reason);
  text += fmt::format("{} tokens; the original model's perplexity is {:.4f}\n\n", comparison.tokens(),
                      comparison.original_perplexity());
  size_t width = 10;
  for (const measure::Variant& variant : comparison.variants) width = std::max(width, variant.name.size());
  text += fmt::format("{:<{}} {:>5}  {:>12} {:>25}  {:>12}\n", "", width, "seeds", "perplexity", "least to most",
                      "KL nats/token");
  for (const measure::Variant& variant : comparison.variants)
    text += fmt::format("{:<{}} {:>5}  {:>12.4f} {:>25}  {:>12.4f}\n", variant.name, width, variant.runs.size(),
                        variant.perplexity(),
                        variant.runs.size() > 1 ? fmt::format("{:.4f} to {:.4f}", variant.least(), variant.most()) : "",
                        variant.kl_divergence());
  text += fmt::format("\n{}\n", comparison.advice());
  if (!command.empty()) text += fmt::format("{}\n", command);
  return text;
}

// Reads its samples when a recipe needs them: the text may be there to learn from alone.
class CalibratorOnDemand : public Calibrator {
 public:
  explicit CalibratorOnDemand(std::function<std::shared_ptr<Calibrator>()> make) : make_(std::move(make)) {}

  Json record() const override { return get().record(); }
  std::vector<std::string> calibrate(const RewritePlan& plan, PreparedTensors& output, RecipeRun& run,
                                     const std::filesystem::path& out) override {
    return get().calibrate(plan, output, run, out);
  }

 private:
  Calibrator& get() const {
    if (!made_) made_ = make_();
    return *made_;
  }

  std::function<std::shared_ptr<Calibrator>()> make_;
  mutable std::shared_ptr<Calibrator> made_;
};

struct CompareCommand : EvaluationFlags {
  CalibrationFlags calibration;
  measure::CompareOptions compare;
  bool learn = false;
  int64_t best_of = 1;

  Result run(const Context& context) {
    if (!recipe.rotations.empty() || !recipe.quip.empty() || recipe.seed)
      throw Error("compare", "tries rotations and seeds of its own", "leave out --rotations, --quip and --seed");
    const Model described = Model::open(model);
    const std::vector<int32_t> tokens = text.tokens(described);
    // What is written to be measured, each rank writes for itself: its bytes depend on the processor.
    const bool tells = meet("compare", tokens, calibration.given() ? at::get_cpu_capability() : "");
    if (options.ranks && (learn || best_of > 1))
      throw Error(learn ? "--learn" : "--best-of", "learns in one process, and there are several ranks",
                  "give --ranks 1");
    compare.windows = options;
    compare.windows.bos = text.bos_token(described);
    compare.runtime = runtime.options(common);
    if (learn && !calibration.given())
      throw Error("--learn", "takes a text to learn from", "give --calibration FILE, another text than --text");
    if (best_of > 1 && !calibration.given())
      throw Error("--best-of", "takes a text to choose by", "give --calibration FILE, another text than --text");
    if (calibration.given()) {
      if (!options.ranks)
        compare.learning = {read_learning_text(calibration, described), learn, best_of, calibration.asked_context(),
                            learner_options(calibration, common)};
      compare.calibrator = std::make_shared<CalibratorOnDemand>(
          [this, described] { return make_calibrator(calibration, common, described, {}); });
    }
    compare.progress = [&](int64_t done, int64_t all) { context.progress("compare", done, all); };
    const measure::Comparison comparison =
        measure::compare(described, recipe.given() ? recipe.make() : Recipe(), tokens, compare);
    const measure::Variant* best = comparison.verdict();
    const std::string command = best ? advised_command(*best, model, recipe, calibration, common) : "";
    const Json json = comparison_json(comparison, command);
    return {json, !tells ? "" : common.json ? json_text(json) : comparison_text(comparison, command), ""};
  }
};

}  // namespace

Runner compare_command(CLI::App& app) {
  const auto command = std::make_shared<CompareCommand>();
  command->add_to(app);
  command->calibration.add_to(app);
  const auto option = [](CLI::Option* o) { return o->capture_default_str(); };
  option(app.add_option("--seeds", command->compare.seeds, "Random matrices of each kind to try"))
      ->check(CLI::Range(1, 1000));
  app.add_flag("--learn", command->learn, "A row with rotations learned from --calibration");
  option(app.add_option("--best-of", command->best_of, "A row with the best of so many seeds, chosen on --calibration"))
      ->check(CLI::Range(1, 1000));
  option(app.add_option("--first-seed", command->compare.first_seed, "The seeds count up from here"));
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
