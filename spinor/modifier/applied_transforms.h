// Which transforms made a checkpoint, as far as it says.
#pragma once

#include "spinor/model/model.h"
#include "spinor/transform/config.h"

namespace spinor {

// From recipe.yaml beside spinor.json, with its seeds; else from config.json's transform_config, whose seeds are the
// peer's. Empty if there is neither.
TransformConfig applied_transforms(const Model& model);

}  // namespace spinor
