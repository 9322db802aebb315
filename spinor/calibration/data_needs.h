// Which weights and activations of a plan take data, and where a text reaches them.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor::calibration {

// Looks at the plan once; the plan outlives it, as it is.
class DataNeeds {
 public:
  // A weight that needs data, or shares a scale with one that does and so goes the same way. Its layer: -1 outside.
  struct Weight {
    const TensorPlan* tensor;
    const WeightQuantization* quantization;
    int64_t layer;
  };

  explicit DataNeeds(const RewritePlan& plan);

  const std::vector<Weight>& weights() const { return weights_; }  // in the plan's order
  // Whether samples are to go through the head.
  bool any_at_head() const;
  // Layers of weights that are none of the model's `layers`: towers, and what predicts further tokens. No text runs
  // through them.
  std::vector<int64_t> layers_beyond(int64_t layers) const;
  // Error for what in those cannot do without data.
  void check_beyond(int64_t layers) const;

 private:
  const RewritePlan& plan_;
  std::vector<Weight> weights_;
};

[[noreturn]] void fail_unreached(const CalibratedActivation& activation);

}  // namespace spinor::calibration
