// How well logits predict tokens, and how far they are from those of a reference.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "spinor/ranks/rank_group.h"
#include "spinor/runtime/decoder.h"

namespace spinor::runtime {

struct Scores {
  double negative_log_likelihood = 0;  // sum over tokens, in nats
  double reference_negative_log_likelihood = 0;
  double divergence = 0;          // sum of KL(reference || model)
  double squared_difference = 0;  // of logits from the reference's, sum over all
  double largest_difference = 0;
  double reference_variance = 0;  // sum over tokens of the variance of the reference's logits
  int64_t agreements = 0;         // tokens where both have the same most likely one
  int64_t tokens = 0;

  void add(const Scores& other);
};
// Of all ranks, added in their order.
Scores over_all(RankGroup& group, const Scores& mine);

// hidden (tokens, hidden size), behind the final norm, and the tokens that follow each, (tokens): compared with a
// reference's hidden states, if there is one. Logits are made for a part of the vocabulary at a time, and each part of
// the heads once for all tokens: the more tokens, the better. Memory: some 100 MB beside resident weights.
Scores score(const at::Tensor& hidden, const at::Tensor& targets, Decoder& model,
             const at::Tensor& reference_hidden = {}, Decoder* reference = nullptr);

struct TokenScore {
  double log_likelihood = 0;  // in nats
  bool most_likely = false;   // of all tokens
};
// Of each target by itself.
std::vector<TokenScore> score_tokens(const at::Tensor& hidden, const at::Tensor& targets, Decoder& model);

}  // namespace spinor::runtime
