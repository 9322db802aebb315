// How large the matrices of a transform scheme are.
#pragma once

#include <cstdint>
#include <string_view>

#include "spinor/model/model.h"
#include "spinor/transform/config.h"

namespace spinor {

// Of the matrix that `scheme` has for a module at a location: its block size, or the whole side. `group`: its name, for
// errors. Errors: a module that has no such side, a block size that does not divide it, a size that is not known.
int64_t transform_size(const Model& model, const Module& module, std::string_view group, const TransformScheme& scheme,
                       TransformLocation location);

}  // namespace spinor
