// Rotary position embedding (RoFormer, arXiv 2104.09864) and its longer-context variants, as transformers computes
// them: the angles in float32.
#pragma once

#include <ATen/core/Tensor.h>

#include "spinor/model/forward_config.h"

namespace spinor {

struct RopeTable {
  at::Tensor cos, sin;  // (positions, head_dim / 2)
};

// Of positions first ... first + count - 1, in a sequence that ends there.
RopeTable rope_table(const RopeConfig& rope, int64_t head_dim, int64_t first, int64_t count,
                     const at::TensorOptions& options);

// In place: x (batch, positions, heads, head_dim), contiguous. The first half of a head is the real part.
void apply_rope(at::Tensor x, const RopeTable& table);

}  // namespace spinor
