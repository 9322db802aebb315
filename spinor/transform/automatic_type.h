// The transform type where nobody has chosen one: that which fits the sizes.
#pragma once

#include <string_view>

#include "spinor/transform/config.h"

namespace spinor {

// Types of a scheme that stand for the first of these that has a matrix of every size the scheme needs:
//   auto         hadamard, random-hadamard, random-orthogonal
//   auto-random  random-hadamard, random-orthogonal
// All are orthogonal, and a random orthogonal matrix has any size. A rotation that keeps the mean (of a stream that
// LayerNorms read) has any size in every type.
inline constexpr std::string_view kAutomatic = "auto", kAutomaticRandom = "auto-random";
bool is_automatic(std::string_view type);

// Puts the type in the place of each that is automatic. Errors as of transform_size().
void choose_types(TransformConfig& config, const Model& model);

// The type that stands for a config as a whole, where a modifier has one argument for all groups: that of the first
// group whose matrices are drawn.
std::string_view type_of_groups(const TransformConfig& config);

}  // namespace spinor
