// The modules of heads for multi-token prediction, as far as a checkpoint has them.
#pragma once

#include <string>

#include "spinor/model/module_list.h"

namespace spinor {

// transformers has no such modules, so they have no class that a target could name; their role is mtp. Of the row's
// modules a layer has those whose tensors are in the checkpoint. `model_root`: see root_of(). None of a row without
// mtp.
void add_mtp_modules(const Architecture& row, const ModelConfig& config, const std::string& model_root,
                     ModuleList& list);

}  // namespace spinor
