// Stacked experts as linears of their own, as llm-compressor has them when it quantizes: mlp.experts.3.gate_proj.
#pragma once

#include <optional>

#include "spinor/model/model.h"

namespace spinor {

// The row of a checkpoint's family: of one with stacked experts, where the files have them one by one, its row for
// that.
const Architecture& row_of_files(const Architecture& row, const Checkpoint& checkpoint);

// Whether the model has linears of single experts though its family stacks them.
bool has_linear_experts(const Model& model);

// The same model with its experts one by one: each weight W (out, in), gate and up apart, biases too. Reads no weights.
// Nothing if no experts are stacked, or spinor has no names for them; nor of a source that is quantized, but for mxfp4.
std::optional<Model> with_linear_experts(const Model& model);

}  // namespace spinor
