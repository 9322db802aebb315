// The part of check_cancels() that is about exact scales.
#pragma once

#include <set>

#include "spinor/plan/plan.h"
#include "spinor/transform/net_product.h"
#include "spinor/transform/scales.h"

namespace spinor {

// What a plan's scales of MLPs and keys do to the linears between which they hide. Values are checked with what reads
// them.
class ScaleCheck {
 public:
  // Error for a scale at a place where the model has none; one that its readers do not undo, that is not diagonal, or
  // differs for channels that RoPE turns into each other; a bias that does not move with its rows.
  ScaleCheck(const RewritePlan& plan, const NetProducts& net);

  // Whether others undo what happens to the linear's inputs, or to its outputs.
  bool covers_inputs(const Module& linear) const { return inputs_.contains(&linear); }
  bool covers_outputs(const Module& linear) const { return outputs_.contains(&linear); }

 private:
  const NetProducts& net_;
  std::set<const Module*> inputs_, outputs_;

  void check(const LegalScale& scale);
  void check_bias(const ScaledLinear& rows) const;
  Product outputs(const ScaledLinear& rows) const;
};

}  // namespace spinor
