#include "spinor/transform/automatic_type.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <set>
#include <string>

#include "spinor/linalg/hadamard.h"
#include "spinor/model/match.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/given_rotations.h"
#include "spinor/transform/transform_size.h"

namespace spinor {
namespace {

std::set<int64_t> sizes_of(std::string_view group, const TransformScheme& scheme, const Model& model) {
  std::set<int64_t> sizes;
  for (const TransformArgs& args : scheme.apply)
    for (const Module* module : match_modules(model, args.targets, args.ignore))
      sizes.insert(transform_size(model, *module, group, scheme, args.location));
  return sizes;
}

bool is_power_of_two(int64_t n) {
  return n > 0 && std::has_single_bit(static_cast<uint64_t>(n));
}

const char* fitting_type(std::string_view group, const TransformScheme& scheme, const Model& model) {
  const bool random = scheme.type == kAutomaticRandom;
  if (fixes_ones(scheme, model)) return random ? "random-hadamard" : "hadamard";
  const std::set<int64_t> sizes = sizes_of(group, scheme, model);
  if (!random && std::ranges::all_of(sizes, is_power_of_two)) return "hadamard";
  return std::ranges::all_of(sizes, Hadamard::exists) ? "random-hadamard" : "random-orthogonal";
}

}  // namespace

bool is_automatic(std::string_view type) {
  return type == kAutomatic || type == kAutomaticRandom;
}

void choose_types(TransformConfig& config, const Model& model) {
  for (auto& [group, scheme] : config.config_groups)
    if (is_automatic(scheme.type)) scheme.type = fitting_type(group, scheme, model);
}

std::string_view type_of_groups(const TransformConfig& config) {
  for (const auto& [name, scheme] : config.config_groups)
    if (scheme.type != kGivenType) return scheme.type;
  return "hadamard";  // nothing is drawn
}

}  // namespace spinor
