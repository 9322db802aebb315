// The modules of a checkpoint, from nothing but the names of its tensors.
#pragma once

#include <string_view>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

// See ModelOptions::accept_unknown. Tensors that are no 1-D or 2-D weight, and biases without one, have no module.
std::vector<Module> modules_by_name(const Checkpoint& checkpoint, std::string_view architecture);
// The one embedding of tokens among them; null if there is none or more than one.
const Module* find_token_embedding(const std::vector<Module>& modules);

}  // namespace spinor
