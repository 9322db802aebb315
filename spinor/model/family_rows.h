// Rows that families share, and those of each kind of family.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/architecture.h"

namespace spinor {

struct Biases {
  std::string qkv = {}, output = {}, mlp = {};
};

// Pre-norm, gated MLP, separate projections: what most families have been since Llama. They differ in biases and
// defaults.
Architecture gated_decoder(std::string classes, Biases biases, NamePairs defaults, ForwardRow forward = {});
// RMS norms of each head's queries and keys, before RoPE. They do not touch the residual stream.
Architecture with_qk_norms(Architecture row, double offset = 0);

std::vector<Architecture> gated_families();
std::vector<Architecture> fused_families();   // Phi-3, GLM
std::vector<Architecture> gemma_families();   // norms of 1 + w, and families that scale the outputs of their blocks
std::vector<Architecture> expert_families();  // mixtures of experts
std::vector<Architecture> layer_norm_families();

}  // namespace spinor
