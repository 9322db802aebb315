// Softmax attention: which tokens a token sees, and how much.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace spinor::runtime {

struct Scoring {
  double scale = 1;                // of the scores
  int64_t window = 0;              // a token sees itself and so many less one before it; 0: all
  std::optional<double> cap = {};  // c tanh(score / c)
  at::Tensor sinks;                // of each head: one more score, for nothing
  bool alibi = false;              // scores fall with the distance, for each head at its own rate
};

// query (sequences, tokens, heads, size), key and value (sequences, all tokens so far, key heads, size), which several
// heads share: (sequences, tokens, heads * size of a value). The last query belongs to the last key.
at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Scoring& scoring);

}  // namespace spinor::runtime
