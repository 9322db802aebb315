// Transforms that every linear undoes by itself: QuIP's, R4's, and a transform_config given to a quantizer.
#pragma once

#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// Whether the config edits the embedding or the head, which a tied model has as one tensor.
bool edits_ends(const TransformConfig& config, const Model& model);

// Unties if that is needed, applies the config, and checks that what it adds cancels on every module. An Error if not.
void apply_paired(const TransformConfig& config, const Model& model, RewritePlan& plan);

}  // namespace spinor
