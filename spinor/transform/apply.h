// A TransformConfig applied to a model: weight locations become edits of the plan, online ones its online list.
#pragma once

#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// Per scheme one stream of draws from its seed and one matrix per size, made in the order of spec 2.5 / 2.6 (for each args, for each
// matched module, the first time a size is seen). Errors: a target that is neither linear nor embedding at a weight location; a block size
// that does not divide the side (tensor named); requires_grad ("learnable is not supported right now"); a target that matches
// nothing; an unknown type; a size the type cannot make (tensor, size and alternative named).
void apply(const TransformConfig& config, const Model& model, RewritePlan& plan);

}  // namespace spinor
