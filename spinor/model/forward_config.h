// What config.json says of the forward pass, beyond sizes and tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

enum class RopeType { plain, linear, dynamic, yarn, llama3 };  // "default", "linear", ...

// rope_parameters, or rope_scaling and rope_theta of older files, as transformers reads them.
struct RopeConfig {
  RopeType type = RopeType::plain;
  double theta = 10000, factor = 1;
  int64_t max_positions = 0;       // max_position_embeddings; dynamic: beyond it frequencies change with the length
  int64_t original_positions = 0;  // yarn, llama3: original_max_position_embeddings
  double low_frequency = 1, high_frequency = 4;         // llama3
  double beta_fast = 32, beta_slow = 1, attention = 1;  // yarn; cos and sin are multiplied by `attention`
  bool truncate = true;                                 // yarn: whole dimensions
};

struct ForwardConfig {
  double norm_epsilon = 1e-6;  // rms_norm_eps
  std::string activation = "silu";
  RopeConfig rope;
  std::vector<int64_t> window;  // of each layer: a token sees itself and so many less one before it; 0: all
  std::vector<bool> has_rope;   // of each layer
  double embedding_multiplier = 1, residual_multiplier = 1, logits_scaling = 1;
  double attention_scale = 1;  // scores are multiplied by it
  std::vector<int32_t> eos;    // eos_token_id: one or several; empty: none
};

// Errors: a value of the wrong type or out of range, a rope type or an activation that spinor cannot run, a model
// without a row in the table of architectures.
ForwardConfig read_forward_config(const Model& model);

}  // namespace spinor
