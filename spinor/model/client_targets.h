// Which scheme of config.json vLLM and SGLang give a module: not always the one that compressed-tensors gives it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/model/quantization_targets.h"

namespace spinor {

// Both read linears by the names of what they fuse (fused_linears.h), and of several targets the first of the file.
// Where no name matches, a class does if it contains the target; vLLM (0.33) then has looked at the parts of what is
// fused, SGLang (0.5.23) not yet. Of experts both look at the first of a layer.
enum class TargetReader { vllm, sglang };

// A module that a reader gives another scheme than it is quantized with.
struct Misreading {
  const Module* module;
  std::string problem;  // "fuses q_proj, k_proj, v_proj, and reads all of them as q_proj"
};

// The first one; nothing: the reader gives every linear, the head and (vLLM) the embedding what `quantized` says.
// Layers of multi-token prediction are not looked at: `ignore` has them.
std::optional<Misreading> find_misreading(const QuantizationConfig& config,
                                          const std::vector<QuantizedModule>& quantized, const Model& model,
                                          TargetReader reader);

}  // namespace spinor
