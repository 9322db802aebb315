// Attention of one layer, and the linears that make its queries, keys and values.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <variant>

#include "spinor/base/slice.h"
#include "spinor/runtime/cache.h"
#include "spinor/runtime/linear.h"
#include "spinor/runtime/norm.h"
#include "spinor/runtime/rope.h"
#include "spinor/runtime/scores.h"

namespace spinor::runtime {

// (sequences, tokens, heads, size), contiguous.
struct Heads {
  at::Tensor query, key, value;
  at::Tensor gate = {};  // its sigmoid multiplies what the heads make; undefined: none
};

struct SeparateProjections {
  Linear query, key, value;
};
struct FusedProjection {
  Linear all;
  Slice query, key, value;  // of its rows
};

// What heads are made of directly.
struct DirectHeads {
  std::variant<SeparateProjections, FusedProjection> projections;
  int64_t size = 0;                          // of a head
  std::optional<Norm> query_norm, key_norm;  // over a head, or over all of them
  std::optional<double> clip;                // of all entries, after that
  bool gated = false;                        // the query's linear makes a gate after each head's query, too

  Heads make(LinearInput& x, const RopeTable* rope) const;
};

// Multi-head latent attention (arXiv 2405.04434). Until expand(), keys are the latent vectors and values the part of
// the keys that turns: one head, which is what a cache keeps.
struct LatentHeads {
  std::optional<Linear> query_in;
  std::optional<Norm> query_norm;
  Linear query_out, latent, expansion;
  Norm latent_norm;
  int64_t fixed = 0, turning = 0, value = 0;  // sizes in a head

  Heads make(LinearInput& x, const RopeTable* rope) const;
  void expand(Heads& heads) const;
};

struct Attention {
  std::variant<DirectHeads, LatentHeads> heads;
  Stage queries, keys, values;  // of heads: after RoPE; values have none
  Scoring scoring;
  Linear output;
  std::string name = {};            // the module's
  LayerWatcher* watcher = nullptr;  // or nobody

  // x: what it reads of the stream. The cache may be null.
  at::Tensor operator()(const at::Tensor& x, const RopeTable* rope, int64_t layer, KeyValueCache* cache) const;
};

}  // namespace spinor::runtime
