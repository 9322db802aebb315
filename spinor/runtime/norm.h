// Norms as torch runs them.
#pragma once

#include <ATen/core/Tensor.h>

namespace spinor::runtime {

// An RMS norm, or a LayerNorm, which subtracts the mean first, over the last dimension; in float32 at least.
struct Norm {
  at::Tensor weight, bias;  // of that dimension, or of (heads, size); undefined: none
  double epsilon = 0;
  bool layer_norm = false;

  at::Tensor operator()(const at::Tensor& x) const;
};

// float32, unless it is wider already.
at::Tensor widened(const at::Tensor& x);

}  // namespace spinor::runtime
