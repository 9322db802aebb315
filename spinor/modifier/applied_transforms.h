// Which transforms made a checkpoint, as far as it says.
#pragma once

#include <string>

#include "spinor/model/model.h"
#include "spinor/transform/config.h"

namespace spinor {

// From recipe.yaml beside spinor.json, with its seeds, and with the matrices of its rotation_file; else from
// config.json's transform_config, whose seeds are the peer's. Empty if there is neither. Error for a rotation_file that
// is gone or another one by now; `rotation_file`, if not empty, is where it is instead.
TransformConfig applied_transforms(const Model& model, const std::string& rotation_file = {});

}  // namespace spinor
