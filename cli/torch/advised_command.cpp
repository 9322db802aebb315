#include "cli/torch/advised_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/typed_command.h"

namespace spinor::cli {
namespace {

uint64_t seed_of(const measure::Variant& variant) {
  return variant.runs.size() > 1 ? variant.best_seed() : variant.seeds.front();
}

// What the recipe's file has to say, in so many words.
std::string spinquant_of(const measure::Variant& variant) {
  std::string text = fmt::format("rotations: [{}], transform_type: {}, seed: {}", fmt::join(variant.rotations, ", "),
                                 variant.transform_type, seed_of(variant));
  if (variant.learned)
    text += fmt::format(", learnable: true, learning: {{context: {}}}", variant.learning["context"].get<int64_t>());
  return text;
}

}  // namespace

std::string advised_command(const measure::Variant& variant, const std::string& model, const RecipeOptions& recipe,
                            const CalibrationFlags& calibration, const CommonOptions& common) {
  const bool quantizes = !recipe.recipe.empty() || recipe.quantizes();
  RecipeOptions all = recipe;
  all.rotations = variant.rotations;
  all.transform_type = variant.transform_type;
  all.seed = seed_of(variant);
  all.learn = variant.learned;
  std::string text =
      fmt::format("spinor {} {} OUT{}", quantizes ? "quantize" : "rotate", quoted(model), typed_options(all));
  if (variant.learned || variant.calibrated) text += typed_options(calibration);
  if (variant.learned && common.threads > 0) text += fmt::format(" --threads {}", common.threads);
  if (recipe.recipe.empty()) return text;
  return fmt::format("{}, whose SpinQuantModifier has {}", text, spinquant_of(variant));
}

}  // namespace spinor::cli
