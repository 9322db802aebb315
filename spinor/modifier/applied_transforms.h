// Which transforms made a checkpoint, as far as it says.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/transform/inverse.h"

namespace spinor {

// Step by step, those that did anything: from recipe.yaml beside spinor.json, with its seeds, matrices and scales; else
// from config.json's transform_config, whose seeds are the peer's. Error for a rotation_file of the recipe that is gone
// or another one by now; `rotation_file`, if not empty, is where it is instead (of several files the one with its
// digest).
std::vector<AppliedTransforms> applied_transforms(const Model& model, const std::string& rotation_file = {});

}  // namespace spinor
