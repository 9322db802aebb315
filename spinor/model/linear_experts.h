// Stacked experts as linears of their own, as llm-compressor has them when it quantizes: mlp.experts.3.gate_proj.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

// The row of a checkpoint's family: of one with stacked experts, where the files have them one by one, its row for
// that.
const Architecture& row_of_files(const Architecture& row, const Checkpoint& checkpoint);

// Whether the model has linears of single experts though its family stacks them.
bool has_linear_experts(const Model& model);

bool is_stack(const Module& module);

// Whether the row says how the stack splits into linears of single experts (LinearRow::split).
bool can_be_split(const Model& model, const Module& stack);

// Of such a stack, the linears of one expert by name.
std::vector<std::string> split_names(const Model& model, const Module& stack, int64_t expert);

// Of a linear of a single expert in with_linear_experts(model), the stack in `model` that it is a piece of.
const Module& stack_of(const Module& linear, const Model& model);

// The same model with its experts one by one: each weight W (out, in), gate and up apart, biases too. Reads no weights.
// Stacks that cannot be split stay. Nothing if no stack can be, nor of a source that is quantized, but for mxfp4. Error
// for a stack whose outputs are no multiple of its linears.
std::optional<Model> with_linear_experts(const Model& model);

}  // namespace spinor
