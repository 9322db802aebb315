// Which linears read the same.
#pragma once

#include <string>

#include "spinor/model/model.h"

namespace spinor {

// The same for linears that multiply the same activations: queries, keys and values of one attention, the first linears
// of one MLP; else the linear's own name.
std::string inputs_key(const Module& linear);

}  // namespace spinor
