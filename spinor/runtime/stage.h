// What happens to activations on their way into or out of a module: transforms, then quantization.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "spinor/linalg/rotation.h"
#include "spinor/quant/activation.h"
#include "spinor/runtime/surrogates.h"

namespace spinor::runtime {

struct Stage {
  std::vector<Rotation> rotations;               // in the order in which they act: x <- x blockdiag(r)
  std::optional<ActivationQuantizer> quantizer;  // one that needs a global scale takes that of all rows given at once
  std::shared_ptr<const Surrogate> surrogate = {};  // of the quantizer; null: none

  bool empty() const { return rotations.empty() && !quantizer; }
  bool same_as(const Stage& other) const;
};

// In place on the rows of x, which are its last dimension; contiguous. Rotations go through the fast transform, in
// float32 (in float64 where x is), and so block by block through the cache. On other devices than the CPU they are
// dense products.
void apply(const Stage& stage, at::Tensor x);

// The same, with a new tensor where a gradient goes through it, or where the stage has a surrogate. Error for a
// gradient through a quantizer without one.
at::Tensor through(const Stage& stage, at::Tensor x);

}  // namespace spinor::runtime
