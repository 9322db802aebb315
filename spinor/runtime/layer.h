// One decoder layer: where its norms stand, and what its blocks add to the residual stream.
#pragma once

#include <optional>
#include <variant>

#include "spinor/runtime/attention.h"
#include "spinor/runtime/delta_rule.h"
#include "spinor/runtime/experts.h"
#include "spinor/runtime/norm.h"
#include "spinor/runtime/options.h"

namespace spinor::runtime {

// Of the tables, those that the model has.
struct RopeTables {
  std::optional<RopeTable> all, local;
};
// For so many tokens from the first one on.
RopeTables rope_tables(const ForwardConfig& forward, int64_t first, int64_t count, const RuntimeOptions& options);

struct Layer {
  int64_t index = 0;
  std::optional<Norm> attention_norm, mlp_norm;                // of what a block reads of the stream
  std::optional<Norm> attention_output_norm, mlp_output_norm;  // of what it adds
  std::optional<Norm> attention_sum_norm, mlp_sum_norm;        // of the stream after that
  std::variant<Attention, DeltaRule> attention;
  FeedForward mlp;
  bool parallel = false;            // both blocks read the same stream,
  bool same_norm = false;           // and through the same norm
  double multiplier = 1;            // of what is added
  bool rope = true, local = false;  // which table

  // x (sequences, tokens, hidden) is the stream: what is returned is x, changed in place, but for a gradient. The cache
  // may be null.
  at::Tensor operator()(at::Tensor x, const RopeTables& tables, KeyValueCache* cache) const;
};

}  // namespace spinor::runtime
