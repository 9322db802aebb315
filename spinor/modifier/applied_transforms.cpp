#include "spinor/modifier/applied_transforms.h"

#include <filesystem>

#include "spinor/model/quantized_source.h"
#include "spinor/modifier/recipe.h"

namespace spinor {
namespace {

// A modifier's transform_config, with its seed, which the config itself does not hold.
TransformConfig transforms_of(const Json& arguments, const std::string& subject) {
  const auto found = arguments.find("transform_config");
  if (found == arguments.end() || !found->is_object()) return {};
  TransformConfig config = transform_config_from_json(*found, subject);
  const auto seed = arguments.find("seed");
  for (auto& [name, scheme] : config.config_groups)
    if (seed != arguments.end() && seed->is_number()) scheme.seed = seed->get<uint64_t>();
  return config;
}

}  // namespace

TransformConfig applied_transforms(const Model& model) {
  const std::filesystem::path directory = model.checkpoint().directory(), recipe = directory / "recipe.yaml";
  TransformConfig config;
  if (std::filesystem::exists(directory / "spinor.json") && std::filesystem::exists(recipe)) {
    const Recipe made = Recipe::load(recipe);
    for (const RecipeStep& step : made.steps())
      config.merge(transforms_of(step.modifier->arguments(), recipe.string()));
    return config;
  }
  const QuantizedSource* source = model.quantized_source();
  if (source && source->transform_config.is_object() && !source->transform_config.empty())
    return transform_config_from_json(source->transform_config, (directory / "config.json").string());
  return config;
}

}  // namespace spinor
