// The way back: what undoes rotations that were fused into weights.
#pragma once

#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// The config whose weight transforms undo those of `config`: its groups in reverse, every `inverse` the other way
// round. Groups with online transforms are left out: start_plan() has moved their two halves together, where they
// cancel.
TransformConfig inverse_of(const TransformConfig& config);

// Appends the inverse of `config`, which made the model, to the plan. The function stays what it is; so does that norms
// are folded, and that the head is not tied. Error as apply() and check_cancels() say.
void undo(const TransformConfig& config, const Model& model, RewritePlan& plan);

}  // namespace spinor
