// Rotary position embedding as config.json describes it.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/family/forward_row.h"
#include "spinor/family/model_config.h"

namespace spinor {

enum class RopeType { plain, linear, dynamic, yarn, llama3, longrope };  // "default", "linear", ...

// rope_parameters, or rope_scaling and rope_theta of older files, as transformers reads them.
struct RopeConfig {
  RopeType type = RopeType::plain;
  int64_t dims = 0;          // of a head that turn: its first
  bool interleaved = false;  // pairs are neighbours; else half of `dims` apart
  double theta = 10000, factor = 1;
  int64_t max_positions = 0;       // max_position_embeddings; dynamic: beyond it frequencies change with the length
  int64_t original_positions = 0;  // yarn, llama3, longrope: original_max_position_embeddings
  double low_frequency = 1, high_frequency = 4;         // llama3
  double beta_fast = 32, beta_slow = 1, attention = 1;  // yarn, longrope; cos and sin are multiplied by `attention`
  double latent_attention = 1;                          // yarn: what latent attention multiplies its scores by
  bool truncate = true;                                 // yarn: whole dimensions
  std::vector<double> short_factors = {},
                      long_factors = {};  // longrope: of the wavelengths, up to original_positions, beyond

  bool operator==(const RopeConfig&) const = default;
};

// `local`: of the layers with a window, where they have parameters of their own. Errors: a value of the wrong type or
// out of range, a type that spinor cannot run, a part of heads where the family turns them whole.
RopeConfig read_rope_config(const ModelConfig& config, const RopeRow& row, bool local);

}  // namespace spinor
