// A first row for an architecture that spinor does not know, guessed from the names and sizes of its tensors.
#pragma once

#include <string>

#include "spinor/io/checkpoint.h"

namespace spinor {

// YAML for read_architecture(), below comments that say what was guessed. Sizes are named after the keys of config.json
// that have them. What a norm scales and who writes to the residual stream is guessed from names: for its user to
// check. Empty if no layers are found.
std::string draft_architecture(const Checkpoint& checkpoint, const std::string& name);

}  // namespace spinor
