#include "spinor/model/transform_location.h"

namespace spinor {
namespace {

constexpr EnumName<TransformLocation> kTransformLocations[] = {
    {TransformLocation::input, "input"},     {TransformLocation::weight_input, "weight_input"},
    {TransformLocation::output, "output"},   {TransformLocation::weight_output, "weight_output"},
    {TransformLocation::k_cache, "k_cache"}, {TransformLocation::q_attn, "q_attn"},
};

}  // namespace

std::span<const EnumName<TransformLocation>> enum_names(TransformLocation) {
  return kTransformLocations;
}

std::string_view name_of(TransformLocation location) {
  return name_in_table(location);
}

bool is_online(TransformLocation location) {
  return location != TransformLocation::weight_input && location != TransformLocation::weight_output;
}

bool is_in_attention(TransformLocation location) {
  return location == TransformLocation::k_cache || location == TransformLocation::q_attn;
}

}  // namespace spinor
