// Modules of a row's `untouched`: what no rotation concerns, but quantization may.
#pragma once

#include <vector>

#include "spinor/family/architecture.h"
#include "spinor/model/model.h"

namespace spinor {

// Of the tensors that no module of `known` has, in the order of the files: linears where the row names them, with their
// biases; each other tensor a parameter.
std::vector<Module> untouched_modules(const Architecture& row, const Checkpoint& checkpoint,
                                      const std::vector<Module>& known);

// "blocks.{N}.attn.qkv" is "blocks.12.attn.qkv": {N} stands for digits.
bool matches_numbers(std::string_view pattern, std::string_view name);

}  // namespace spinor
