// What each token weighs where channels of an MLP are measured.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace spinor::learning {

// One a row (tokens, n): what makes rows alike, the first token of a whole sample, of `context` tokens, 64 times that.
// An attention sink is quantized as every token is, and is much larger.
at::Tensor token_weights(const at::Tensor& rows, int64_t context);

}  // namespace spinor::learning
