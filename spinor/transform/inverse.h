// The way back: what undoes rotations that were fused into weights.
#pragma once

#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"
#include "spinor/transform/given_permutations.h"
#include "spinor/transform/given_scales.h"

namespace spinor {

// The config whose weight transforms undo those of `config`: its groups in reverse, every `inverse` the other way
// round. Groups with online transforms are left out: start_plan() has moved their two halves together, where they
// cancel.
TransformConfig inverse_of(const TransformConfig& config);

// What one step of a recipe did: scales, then permutations, then rotations.
struct AppliedTransforms {
  TransformConfig config = {};
  GivenScales scales = {};
  GivenPermutations permutations = {};

  bool empty() const { return config.empty() && scales.empty() && permutations.empty(); }
};

// Appends the inverse of the steps that made the model, in their order, to the plan. The function stays what it is; so
// does that norms are folded, and that the head is not tied. Error as apply(), apply_scales(),
// apply_permutations() and check_cancels() say.
void undo(const std::vector<AppliedTransforms>& steps, const Model& model, RewritePlan& plan);

}  // namespace spinor
