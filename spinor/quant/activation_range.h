// The ranges of static activations over the batches of calibration, and what a checkpoint stores of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "spinor/base/dtype.h"
#include "spinor/base/view.h"
#include "spinor/quant/observers.h"
#include "spinor/quant/scale.h"
#include "spinor/quant/scheme.h"

namespace spinor {

class ActivationRange {
 public:
  ActivationRange(const QuantizationArgs& args, const ActivationObserver& observer)
      : args_(args), observer_(observer) {}

  // Of a batch: a row for each token. The first columns/slots values of each have one range, the next another, and so
  // on: one slot for all, one for each head, one for each group where the largest of them gives a global scale. Empty:
  // a value is not finite, or there is no row. Costs a pass, and one for each step of the search where there is one.
  // Results do not depend on threads.
  std::vector<Range> of(MatrixView<const float> batch, int64_t slots, int threads) const;
  // Those of the next batch.
  void add(std::vector<Range> batch);
  bool empty() const { return ranges_.empty(); }
  // The ranges hold those of another with the same args and slots, too.
  void widen(const ActivationRange& other);
  const QuantizationArgs& args() const { return args_; }

  // The bytes of scales, of zero points unless symmetric, or of the global scale: see calibrated_tensors(). Scales are
  // stored in `dtype`. Error, about "activations", for a scale that is infinite in it.
  std::vector<std::vector<std::byte>> stored(DType dtype) const;

 private:
  void search(MatrixView<const float> batch, std::vector<Range>& ranges, int threads) const;
  std::vector<std::byte> global() const;

  QuantizationArgs args_;
  ActivationObserver observer_;
  std::vector<Range> ranges_;
};

}  // namespace spinor
