// Rows that families share, and those of each kind of family.
#pragma once

#include <string>
#include <vector>

#include "spinor/family/architecture.h"

namespace spinor {

struct Biases {
  std::string qkv = {}, output = {}, mlp = {};
};

inline const std::string kHidden = "hidden_size";
// Biases of the attention where config.json says so, none of the MLP.
inline const Biases kAttentionBias = {"attention_bias", "attention_bias", ""};
inline const OptionalKey kWindow4096 = {"sliding_window", 4096};
// Layers with a window are looked at only if config.json asks for it.
inline const std::string kIfWindowed = "(use_sliding_window ?? false)";

// A change of a row's facts about the forward pass, which it has from then on.
template <typename Change>
void change_forward(Architecture& row, Change change) {
  if (!row.forward) row.forward.emplace();
  change(*row.forward);
}

// The linear or norm of a row that is called so; the first of several. Error if there is none.
LinearRow& linear_of(Architecture& row, const std::string& name);
NormRow& norm_of(Architecture& row, const std::string& name);
// The row without those of its linears whose names begin so; what else names them stays.
void erase_linears(Architecture& row, const std::string& prefix);

// Layers with a window: what layer_types says, else those of the rule.
std::string by_layer_type(const std::string& rule);
// Pre-norm, gated MLP, separate projections: what most families have been since Llama. They differ in biases and
// defaults.
Architecture gated_decoder(std::string classes, Biases biases, NamePairs defaults, ForwardRow forward = {});
// Granite's scalars, which commute with a rotation.
ForwardRow granite_forward();
// Qwen's: layers with a window, if config.json asks for it, after so many without.
ForwardRow qwen_forward(const std::string& full_layers);
// All norms of the stream are LayerNorms; when they have biases.
Architecture with_layer_norms(Architecture row, const std::string& bias = {});
// All norms so far multiply by 1 + weight.
Architecture with_offset(Architecture row);
// Qwen's experts in the layers that config.json says, in the others the MLP.
Architecture with_qwen_moe(Architecture row, bool shared_expert);
// RMS norms of each head's queries and keys, before RoPE. They do not touch the residual stream.
Architecture with_qk_norms(Architecture row, double offset = 0);
// Those of a row over all heads at once.
void norm_all_heads(Architecture& row);

Architecture gemma3(const std::string& classes);
Architecture qwen3_5(const std::string& classes);

std::vector<Architecture> gated_families();
std::vector<Architecture> fused_families();   // Phi-3, GLM
std::vector<Architecture> gemma_families();   // norms of 1 + w, and families that scale the outputs of their blocks
std::vector<Architecture> expert_families();  // mixtures of experts
std::vector<Architecture> layer_norm_families();
std::vector<Architecture> gpt_families();     // LayerNorms, and names of their own
std::vector<Architecture> hybrid_families();  // some layers with linear attention
std::vector<Architecture> vision_families();  // a language model and a vision tower

}  // namespace spinor
