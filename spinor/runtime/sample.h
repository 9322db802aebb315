// Which token is next.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <random>

#include "spinor/runtime/generate.h"

namespace spinor::runtime {

// Error for options that make no sense.
void check_sampling(const GenerateOptions& options);

// logits (vocabulary). The same of all standard libraries.
int32_t sample(const at::Tensor& logits, const GenerateOptions& options, std::mt19937_64& random);

}  // namespace spinor::runtime
