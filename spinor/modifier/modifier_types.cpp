#include "spinor/modifier/modifier_types.h"

#include <algorithm>
#include <array>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/modifier/gptq_modifier.h"
#include "spinor/modifier/quantization_modifier.h"
#include "spinor/modifier/quip_modifier.h"
#include "spinor/modifier/spinquant_modifier.h"

namespace spinor {
namespace {

// Modifiers of llm-compressor that recipes in circulation name and spinor does not have.
constexpr auto kNotSupported =
    std::to_array<std::string_view>({"AWQModifier", "SmoothQuantModifier", "SparseGPTModifier", "WandaPruningModifier",
                                     "MagnitudePruningModifier", "AutoRoundModifier", "ConstantPruningModifier",
                                     "REAPPruningModifier", "LogarithmicEqualizationModifier", "DistillationModifier"});

std::vector<ModifierType>& table() {
  static std::vector<ModifierType> types = {{"SpinQuantModifier", make_modifier<SpinQuantModifier>},
                                            {"QuIPModifier", make_modifier<QuIPModifier>},
                                            {"QuantizationModifier", make_modifier<QuantizationModifier>},
                                            {"GPTQModifier", make_modifier<GPTQModifier>}};
  return types;
}

bool is_not_supported(std::string_view name) {
  return std::ranges::find(kNotSupported, name) != kNotSupported.end();
}

}  // namespace

const std::vector<ModifierType>& modifier_types() {
  return table();
}

void register_modifier_type(ModifierType type) {
  if (is_modifier_name(type.name)) throw Error(type.name, "is the name of a modifier already", "choose another name");
  table().push_back(std::move(type));
}

bool is_modifier_name(std::string_view name) {
  return is_not_supported(name) || std::ranges::find(table(), name, &ModifierType::name) != table().end();
}

const ModifierType& find_modifier_type(std::string_view name, const Place& place) {
  const auto found = std::ranges::find(table(), name, &ModifierType::name);
  if (found != table().end()) return *found;
  std::vector<std::string_view> names;
  for (const ModifierType& type : table()) names.push_back(type.name);
  if (is_not_supported(name)) place.fail(std::string(name) + " is not supported yet", "remove it from the recipe");
  names.insert(names.end(), kNotSupported.begin(), kNotSupported.end());
  place.fail("no modifier is called '" + std::string(name) + "'", suggest_name(name, names));
}

}  // namespace spinor
