#include "cli/typed_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace spinor::cli {
namespace {

std::string option(const char* name, const std::string& value) {
  return value.empty() ? "" : fmt::format(" {} {}", name, quoted(value));
}
std::string option(const char* name, const std::vector<std::string>& values) {
  return option(name, fmt::format("{}", fmt::join(values, ",")));
}
template <typename Number>
std::string option(const char* name, const std::optional<Number>& value) {
  return value ? fmt::format(" {} {}", name, *value) : "";
}
std::string flag(const char* name, bool given) {
  return given ? fmt::format(" {}", name) : "";
}
// Nothing where the program would take the same by itself.
template <typename Number>
std::string unless(const char* name, Number value, Number by_default) {
  return value == by_default ? "" : fmt::format(" {} {}", name, value);
}

}  // namespace

std::string quoted(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string typed_options(const RecipeOptions& recipe) {
  if (!recipe.recipe.empty()) return option("--recipe", recipe.recipe);
  return option("--rotations", recipe.rotations) + option("--transform-type", recipe.transform_type) +
         option("--seed", recipe.seed) + option("--rotation", recipe.rotation) +
         option("--block-size", recipe.block_size) + option("--quip", recipe.quip) +
         option("--group-size", recipe.group_size) + option("--scheme", recipe.scheme) +
         option("--observer", recipe.observer) + option("--format", recipe.format) +
         option("--targets", recipe.targets) + option("--ignore", recipe.ignore) +
         option("--precision", recipe.precision) + option("--mtp", recipe.mtp) + option("--compat", recipe.compat) +
         flag("--randomize", recipe.randomize) + flag("--center-embeddings", recipe.center_embeddings) +
         flag("--vision", recipe.vision) + option("--best-of", recipe.best_of) + flag("--learn", recipe.learn) +
         option("--objective", recipe.objective);
}

std::string typed_options(const CalibrationFlags& calibration) {
  const CalibrationFlags by_default;
  return option("--calibration", calibration.text) + option("--calibration-context", calibration.asked_context()) +
         unless("--calibration-samples", calibration.samples, by_default.samples) +
         unless("--calibration-seed", calibration.seed, by_default.seed) + flag("--calibration-bos", calibration.bos) +
         flag("--calibration-all-experts", calibration.all_experts) +
         unless("--calibration-device", calibration.device, by_default.device);
}

}  // namespace spinor::cli
