// Lists over the layers that a config.json leaves to its class, told by the tensors.
#pragma once

#include "spinor/family/model_config.h"
#include "spinor/io/checkpoint.h"

namespace spinor {

// Adds the row's told_lists to config.keys where they are not there: of each layer the value with which its modules of
// the row that depend on it, and no others of them, are in the checkpoint, in the shapes that they then have. Error
// naming the layer if there is no such value, or more than one.
void add_told_lists(ModelConfig& config, const Architecture& row, const Checkpoint& checkpoint);

}  // namespace spinor
