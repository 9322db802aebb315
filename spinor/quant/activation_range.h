// The ranges of static activations over the batches of calibration, and what a checkpoint stores of them.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "spinor/base/dtype.h"
#include "spinor/base/fields.h"
#include "spinor/quant/scale.h"
#include "spinor/quant/scheme.h"

namespace spinor {

// llm-compressor's observers of activations.
enum class ActivationObserver {
  minmax,             // a moving average of each batch's range
  static_minmax,      // the range of all batches
  memoryless_minmax,  // that of the last one
};
struct ActivationObserverOptions {
  ActivationObserver kind = ActivationObserver::minmax;
  double averaging_constant = 0.01;  // the weight of a new batch
};
// What args.observer and args.observer_kwargs ask for; absent: minmax. Error at `place` for what is unknown or not
// supported.
ActivationObserverOptions activation_observer(const QuantizationArgs& args, const Place& place);

class ActivationRange {
 public:
  ActivationRange(const QuantizationArgs& args, const ActivationObserverOptions& options)
      : args_(args), options_(options) {}

  // The least and the largest value of a batch, for each scale: one, or one for each head.
  void add(std::span<const float> low, std::span<const float> high);
  bool empty() const { return ranges_.empty(); }
  const QuantizationArgs& args() const { return args_; }

  // The bytes of scales, of zero points unless symmetric, or of the global scale: see calibrated_tensors(). Scales are
  // stored in `dtype`. Error, about "activations", for a scale that is infinite in it.
  std::vector<std::vector<std::byte>> stored(DType dtype) const;

 private:
  std::vector<std::byte> global() const;

  QuantizationArgs args_;
  ActivationObserverOptions options_;
  std::vector<Range> ranges_;
};

}  // namespace spinor
