// The part of check_cancels() that is about exact scales, and hidden channels in another order.
#pragma once

#include <set>

#include "spinor/plan/plan.h"
#include "spinor/transform/hidden_channels.h"
#include "spinor/transform/net_product.h"
#include "spinor/transform/scales.h"

namespace spinor {

// What a plan does to MLPs and keys, and the linears between which that hides. Scales of values are checked with what
// reads them.
class ScaleCheck {
 public:
  // Error for a scale or an order at a place where the model has none; a scale that its readers do not undo, that is
  // not diagonal, or differs for channels that RoPE turns into each other; channels that do not stand in one order
  // wherever they are; a bias that does not move with its rows.
  ScaleCheck(const RewritePlan& plan, const NetProducts& net);

  // Whether others undo what happens to the linear's inputs, or to its outputs.
  bool covers_inputs(const Module& linear) const { return inputs_.contains(&linear); }
  bool covers_outputs(const Module& linear) const { return outputs_.contains(&linear); }

 private:
  const NetProducts& net_;
  std::set<const Module*> inputs_, outputs_;

  void check_channels(const HiddenChannels& channels, bool activation_commutes);
  void check_keys(const LegalScale& scale);
  void check_bias(const LinearPart& rows) const;
  Product outputs(const LinearPart& rows) const;
};

}  // namespace spinor
