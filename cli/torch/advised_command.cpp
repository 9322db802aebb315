#include "cli/torch/advised_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>
#include <vector>

#include "spinor/transform/automatic_type.h"

namespace spinor::cli {
namespace {

// As a shell reads it.
std::string quoted(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// The type of compare's rows: one that is drawn.
std::string type_of(const RecipeOptions& recipe) {
  return recipe.transform_type.starts_with("random") ? recipe.transform_type : std::string(kAutomaticRandom);
}

uint64_t seed_of(const measure::Variant& variant) {
  return variant.runs.size() > 1 ? variant.best_seed() : variant.seeds.front();
}

std::string options_of(const measure::Variant& variant, const RecipeOptions& recipe) {
  std::string text = fmt::format(" --rotations {} --transform-type {} --seed {}", fmt::join(variant.rotations, ","),
                                 type_of(recipe), seed_of(variant));
  if (recipe.block_size) text += fmt::format(" --block-size {}", *recipe.block_size);
  if (recipe.group_size) text += fmt::format(" --group-size {}", *recipe.group_size);
  const std::pair<const char*, std::string> given[] = {{"--scheme", recipe.scheme},
                                                       {"--observer", recipe.observer},
                                                       {"--format", recipe.format},
                                                       {"--targets", fmt::format("{}", fmt::join(recipe.targets, ","))},
                                                       {"--ignore", fmt::format("{}", fmt::join(recipe.ignore, ","))},
                                                       {"--precision", recipe.precision},
                                                       {"--mtp", recipe.mtp},
                                                       {"--compat", recipe.compat}};
  for (const auto& [name, value] : given)
    if (!value.empty()) text += fmt::format(" {} {}", name, quoted(value));
  const std::pair<const char*, bool> flags[] = {{"--randomize", recipe.randomize},
                                                {"--center-embeddings", recipe.center_embeddings},
                                                {"--vision", recipe.vision},
                                                {"--learn", variant.learned}};
  for (const auto& [name, is_given] : flags)
    if (is_given) text += fmt::format(" {}", name);
  return text;
}

}  // namespace

std::string advised_command(const measure::Variant& variant, const std::string& model, const RecipeOptions& recipe,
                            const CalibrationFlags& calibration) {
  const bool quantizes = !recipe.recipe.empty() || recipe.quantizes();
  std::string text = fmt::format("spinor {} {} OUT", quantizes ? "quantize" : "rotate", quoted(model));
  text += recipe.recipe.empty() ? options_of(variant, recipe) : " --recipe " + quoted(recipe.recipe);
  if (calibration.given() && (variant.learned || !recipe.recipe.empty())) {
    text += fmt::format(" --calibration {}", quoted(calibration.text));
    if (const auto context = calibration.asked_context()) text += fmt::format(" --calibration-context {}", *context);
  }
  if (recipe.recipe.empty()) return text;
  return fmt::format("{}, whose SpinQuantModifier has rotations: [{}], transform_type: {}, seed: {}{}", text,
                     fmt::join(variant.rotations, ", "), type_of(recipe), seed_of(variant),
                     variant.learned ? ", learnable: true" : "");
}

}  // namespace spinor::cli
