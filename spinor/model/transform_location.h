// Where a transform acts on a module, by compressed-tensors' names.
#pragma once

#include <span>
#include <string_view>

#include "spinor/base/fields.h"

namespace spinor {

enum class TransformLocation { input, weight_input, weight_output, output, k_cache, q_attn };
std::span<const EnumName<TransformLocation>> enum_names(TransformLocation);
std::string_view name_of(TransformLocation location);
bool is_online(TransformLocation location);        // neither weight_input nor weight_output
bool is_in_attention(TransformLocation location);  // k_cache or q_attn

}  // namespace spinor
