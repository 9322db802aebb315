// Objectives of the whole network: what its logits say.
#pragma once

#include <ATen/core/Tensor.h>

namespace spinor::learning {

// Sums over rows of logits (rows, vocabulary), float32 or float64; gradients go through them. reference: those of the
// network that is not quantized; next: the tokens that follow, (rows).
at::Tensor divergence_of_logits(const at::Tensor& logits, const at::Tensor& reference, const at::Tensor& next);
at::Tensor cross_entropy_of_logits(const at::Tensor& logits, const at::Tensor& reference, const at::Tensor& next);

}  // namespace spinor::learning
