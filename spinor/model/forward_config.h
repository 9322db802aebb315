// What config.json says of the forward pass, beyond sizes and tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spinor/family/forward_row.h"
#include "spinor/model/model.h"
#include "spinor/model/rope_config.h"

namespace spinor {

struct LatentConfig {
  int64_t fixed = 0, turning = 0, value = 0;  // sizes in a head

  bool operator==(const LatentConfig&) const = default;
};

struct DeltaConfig {
  std::vector<Slice> pieces;  // in the order of DeltaRow
  int64_t key_size = 0, value_size = 0;

  bool operator==(const DeltaConfig&) const = default;
};

struct RouterConfig {
  int64_t chosen = 0, groups = 1, chosen_groups = 1;
  bool normalized = false;
  double scale = 1;

  bool operator==(const RouterConfig&) const = default;
};

struct ForwardConfig {
  double norm_epsilon = 1e-6;
  std::string activation = "silu";
  std::optional<double> swiglu_limit;
  double swiglu_alpha = 1;
  std::optional<RopeConfig> rope, local_rope;  // local: of the layers with a window, where they have one of their own
  std::vector<int64_t> window;  // of each layer: a token sees itself and so many less one before it; 0: all
  std::vector<bool> has_rope;   // of each layer
  std::vector<bool> local;      // of each layer: it is one of those with a window, even if the window is without end
  bool alibi = false;
  double attention_scale = 1;  // scores are multiplied by it
  std::optional<double> attention_cap, logits_cap, clip;
  double embedding_multiplier = 1, residual_multiplier = 1, logits_multiplier = 1;
  bool parallel = false, norms_sums = false;
  std::optional<LatentConfig> latent;
  std::optional<DeltaConfig> delta;
  std::optional<RouterConfig> router;

  // Of a layer; null: it has none.
  const RopeConfig* rope_of(int64_t layer) const;
  bool operator==(const ForwardConfig&) const = default;
};

// Errors: a value of the wrong type or out of range, what the row says is unsupported, a rope type that spinor cannot
// run, a model without a row in the table of architectures, a family that spinor cannot run.
ForwardConfig read_forward_config(const Model& model);
// The same of a file and its row; `subject`: its path.
ForwardConfig read_forward_config(const Json& config, const Architecture& row, const std::string& subject);

}  // namespace spinor
