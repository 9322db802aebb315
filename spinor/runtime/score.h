// How well logits predict tokens, and how far they are from those of a reference.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

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

// 128 MB. With fewer rows the product packs the head's weight too often.
inline constexpr int64_t kLogitsAtOnce = 1 << 25;

struct Head {
  int64_t vocabulary;
  std::function<at::Tensor(const at::Tensor& hidden)> logits;  // rows of hidden states to rows of logits
  int64_t at_once = kLogitsAtOnce;                             // so many logits, some eight times over
};

// hidden (tokens, hidden size) and the tokens that follow each, (tokens). Logits are made for a few rows at a time.
Scores score(const at::Tensor& hidden, const at::Tensor& targets, const Head& head);
// The same, compared with a reference's hidden states.
Scores score(const at::Tensor& hidden, const at::Tensor& targets, const Head& head, const at::Tensor& reference_hidden,
             const Head& reference_head);

}  // namespace spinor::runtime
