#include "spinor/modifier/applied_transforms.h"

#include <algorithm>
#include <filesystem>

#include "spinor/base/error.h"
#include "spinor/model/quantized_source.h"
#include "spinor/modifier/recipe.h"
#include "spinor/transform/given_rotations.h"

namespace spinor {
namespace {

std::string text_at(const Json& arguments, const char* key) {
  const auto found = arguments.find(key);
  return found != arguments.end() && found->is_string() ? found->get<std::string>() : "";
}

// A modifier's transform_config, with its seed and its own matrices and scales, which the config itself does not hold.
AppliedTransforms transforms_of(const Json& arguments, const std::string& subject, const Model& model,
                                const std::string& rotation_file) {
  const auto found = arguments.find("transform_config");
  if (found == arguments.end() || !found->is_object()) return {};
  AppliedTransforms applied{.config = transform_config_from_json(*found, subject)};
  const auto seed = arguments.find("seed");
  for (auto& [name, scheme] : applied.config.config_groups)
    if (seed != arguments.end() && seed->is_number()) scheme.seed = seed->get<uint64_t>();
  const std::string recorded = text_at(arguments, "rotation_file");
  if (recorded.empty()) return applied;
  const std::string& file = rotation_file.empty() ? recorded : rotation_file;
  GivenRotations given = read_rotations(file, model, text_at(arguments, "rotation_digest"));
  use_given(given, model, applied.config);
  applied.scales = std::move(given.scales);
  applied.permutations = std::move(given.permutations);
  return applied;
}

// That of a file that was moved, where the recipe has several and it stands for one of them; else empty.
std::string digest_among_several(const Recipe& recipe, const Model& model, const std::string& rotation_file) {
  const auto has_file = [](const RecipeStep& step) {
    return !text_at(step.modifier->arguments(), "rotation_file").empty();
  };
  if (rotation_file.empty() || std::ranges::count_if(recipe.steps(), has_file) < 2) return {};
  return read_rotations(rotation_file, model).digest;
}

bool has_given(const AppliedTransforms& step) {
  const auto is_given = [](const auto& group) { return group.second.type == kGivenType; };
  return !step.scales.empty() || !step.permutations.empty() || std::ranges::any_of(step.config.config_groups, is_given);
}

}  // namespace

std::vector<AppliedTransforms> applied_transforms(const Model& model, const std::string& rotation_file) {
  const std::filesystem::path directory = model.checkpoint().directory(), recipe = directory / "recipe.yaml";
  std::vector<AppliedTransforms> steps;
  const bool made = std::filesystem::exists(directory / "spinor.json") && std::filesystem::exists(recipe);
  if (made) {
    const Recipe recorded = Recipe::load(recipe);
    const std::string moved = digest_among_several(recorded, model, rotation_file);
    for (const RecipeStep& step : recorded.steps()) {
      const Json arguments = step.modifier->arguments();
      const bool is_this = moved.empty() || text_at(arguments, "rotation_digest") == moved;
      steps.push_back(transforms_of(arguments, recipe.string(), model, is_this ? rotation_file : ""));
    }
    std::erase_if(steps, [](const AppliedTransforms& step) { return step.empty(); });
  }
  if (!rotation_file.empty() && std::ranges::none_of(steps, has_given))
    throw Error(rotation_file, "is a file of rotations, but the model was not rotated with one");
  if (made) return steps;
  const QuantizedSource* source = model.quantized_source();
  if (source && source->transform_config.is_object() && !source->transform_config.empty())
    steps.push_back(
        {.config = transform_config_from_json(source->transform_config, (directory / "config.json").string())});
  return steps;
}

}  // namespace spinor
