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

// A modifier's transform_config, with its seed and its own matrices, which the config itself does not hold.
TransformConfig transforms_of(const Json& arguments, const std::string& subject, const Model& model,
                              const std::string& rotation_file) {
  const auto found = arguments.find("transform_config");
  if (found == arguments.end() || !found->is_object()) return {};
  TransformConfig config = transform_config_from_json(*found, subject);
  const auto seed = arguments.find("seed");
  for (auto& [name, scheme] : config.config_groups)
    if (seed != arguments.end() && seed->is_number()) scheme.seed = seed->get<uint64_t>();
  const std::string recorded = text_at(arguments, "rotation_file");
  if (recorded.empty()) return config;
  const std::string& file = rotation_file.empty() ? recorded : rotation_file;
  use_given(read_rotations(file, model, text_at(arguments, "rotation_digest")), model, config);
  return config;
}

bool has_given(const TransformConfig& config) {
  return std::ranges::any_of(config.config_groups, [](const auto& group) { return group.second.type == kGivenType; });
}

}  // namespace

TransformConfig applied_transforms(const Model& model, const std::string& rotation_file) {
  const std::filesystem::path directory = model.checkpoint().directory(), recipe = directory / "recipe.yaml";
  TransformConfig config;
  const bool made = std::filesystem::exists(directory / "spinor.json") && std::filesystem::exists(recipe);
  if (made) {
    const Recipe steps = Recipe::load(recipe);
    for (const RecipeStep& step : steps.steps())
      config.merge(transforms_of(step.modifier->arguments(), recipe.string(), model, rotation_file));
  }
  if (!rotation_file.empty() && !has_given(config))
    throw Error(rotation_file, "is a file of rotations, but the model was not rotated with one");
  if (made) return config;
  const QuantizedSource* source = model.quantized_source();
  if (source && source->transform_config.is_object() && !source->transform_config.empty())
    return transform_config_from_json(source->transform_config, (directory / "config.json").string());
  return config;
}

}  // namespace spinor
