// Rotary position embedding (RoFormer, arXiv 2104.09864) and its longer-context variants, as transformers computes
// them: the angles in float32.
#pragma once

#include <ATen/core/Tensor.h>

#include "spinor/model/rope_config.h"

namespace spinor::runtime {

struct RopeTable {
  at::Tensor cos, sin;  // (positions, half of the dimensions that turn)
  bool interleaved = false;
};

// Of positions first ... first + count - 1, in a sequence that ends there.
RopeTable rope_table(const RopeConfig& rope, int64_t first, int64_t count, const at::TensorOptions& options);

// In place: x (batch, positions, heads, size), contiguous; what turns begins at `begin` in each head. Of a pair the
// first is the real part.
void apply_rope(at::Tensor x, const RopeTable& table, int64_t begin = 0);

}  // namespace spinor::runtime
