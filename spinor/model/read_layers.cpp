#include "spinor/model/read_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "spinor/model/fused_linears.h"
#include "spinor/model/module_name.h"
#include "spinor/model/quantization_targets.h"

namespace spinor {
namespace {

// Whether all parts of what would be fused are there.
bool is_fused(const Module& linear, const Model& model) {
  const std::string_view last = last_component(linear.name);
  return std::ranges::any_of(fused_linears(), [&](const FusedLinears& fused) {
    return std::ranges::find(fused.parts, last) != fused.parts.end() &&
           std::ranges::all_of(fused.parts, [&](std::string_view part) {
             return model.find(fmt::format("{}.{}", parent_of(linear.name), part)) != nullptr;
           });
  });
}

ReadLayer read_layer(const Module& linear, const Model& model) {
  if (&linear == model.head()) return {ReadLayer::head, stored_and_loaded(linear)};
  ReadLayer layer{linear.expert ? ReadLayer::experts : is_fused(linear, model) ? ReadLayer::fused : ReadLayer::single};
  for (const std::string& name : stored_and_loaded(linear)) {
    const std::string_view above = parent_of(name), last = last_component(name);
    layer.names.push_back(layer.kind == ReadLayer::single    ? name
                          : layer.kind == ReadLayer::experts ? fmt::format("{}.0.{}", parent_of(above), last)
                                                             : fused_name(name));
  }
  return layer;
}

}  // namespace

std::vector<std::string> stored_and_loaded(const Module& module) {
  std::vector<std::string> names = {module.name};
  if (!module.loaded_name.empty()) names.push_back(module.loaded_name);
  return names;
}

std::vector<ReadLayer> read_layers(const Model& model) {
  std::vector<ReadLayer> layers;
  std::map<std::string, size_t> places;  // of wholes
  for (const Module& module : model.modules()) {
    if (module.kind != ModuleKind::linear || !module.weight || module.role == Role::mtp || is_router(module)) continue;
    ReadLayer layer = read_layer(module, model);
    const auto [place, added] = places.emplace(layer.names.front(), layers.size());
    if (added) layers.push_back(std::move(layer));
    layers[place->second].parts.push_back(&module);
  }
  return layers;
}

}  // namespace spinor
