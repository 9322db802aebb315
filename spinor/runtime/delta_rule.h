// Linear attention with the gated delta rule (arXiv 2412.06464): a matrix for each head in place of a cache of keys.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "spinor/base/slice.h"
#include "spinor/runtime/cache.h"
#include "spinor/runtime/linear.h"
#include "spinor/runtime/norm.h"
#include "spinor/runtime/rope.h"

namespace spinor::runtime {

struct DeltaRule {
  // Some rows of what one of the linears makes.
  struct Piece {
    size_t linear = 0;
    Slice rows;
  };
  std::vector<Linear> inputs;
  Piece query, key, value, gate, strength, decay;
  at::Tensor filter;  // (channels, 1, tokens): over queries, keys and values of a token and those before
  at::Tensor decay_bias, decay_rate;  // of each head; the rate as a logarithm
  int64_t key_size = 0, value_size = 0;
  Norm norm;  // of each head, before the gate
  Linear output;

  // As Attention. It has no RoPE.
  at::Tensor operator()(const at::Tensor& x, const RopeTable* rope, int64_t layer, KeyValueCache* cache) const;

 private:
  at::Tensor filtered(const at::Tensor& x, at::Tensor& before) const;
  at::Tensor scan(const at::Tensor& mixed, const at::Tensor& strength, const at::Tensor& decay,
                  at::Tensor& state) const;
};

}  // namespace spinor::runtime
