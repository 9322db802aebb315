#include "spinor/runtime/score.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::runtime {
namespace {

// Narrow types are widened: a logarithm of a sum over a vocabulary needs more than eight bits.
at::Tensor wide(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

double total(const at::Tensor& x) {
  return at::sum(x, at::kDouble).item<double>();
}

double likelihood(const at::Tensor& log_probabilities, const at::Tensor& targets) {
  return total(log_probabilities.gather(1, targets.unsqueeze(1)));
}

void compare(const at::Tensor& logits, const at::Tensor& log_probabilities, const at::Tensor& reference,
             const at::Tensor& targets, Scores& scores) {
  const at::Tensor expected = reference.log_softmax(-1), difference = logits - reference;
  scores.reference_negative_log_likelihood -= likelihood(expected, targets);
  scores.divergence += total(expected.exp() * (expected - log_probabilities));
  scores.squared_difference += total(difference.square());
  scores.largest_difference = std::max(scores.largest_difference, difference.abs().max().item<double>());
  scores.reference_variance += total(reference.var(-1, /*unbiased=*/false));
  scores.agreements += logits.argmax(-1).eq(reference.argmax(-1)).sum().item<int64_t>();
}

}  // namespace

void Scores::add(const Scores& other) {
  negative_log_likelihood += other.negative_log_likelihood;
  reference_negative_log_likelihood += other.reference_negative_log_likelihood;
  divergence += other.divergence;
  squared_difference += other.squared_difference;
  largest_difference = std::max(largest_difference, other.largest_difference);
  reference_variance += other.reference_variance;
  agreements += other.agreements;
  tokens += other.tokens;
}

Scores score(const at::Tensor& hidden, const at::Tensor& targets, const Head& head) {
  return score(hidden, targets, head, {}, {});
}

Scores score(const at::Tensor& hidden, const at::Tensor& targets, const Head& head, const at::Tensor& reference_hidden,
             const Head& reference_head) {
  Scores scores{.tokens = targets.size(0)};
  const int64_t step = std::max<int64_t>(1, head.at_once / head.vocabulary);
  for (int64_t first = 0; first < targets.size(0); first += step) {
    const int64_t rows = std::min(step, targets.size(0) - first);
    const at::Tensor logits = wide(head.logits(hidden.narrow(0, first, rows)));
    const at::Tensor log_probabilities = logits.log_softmax(-1);
    const at::Tensor next = targets.narrow(0, first, rows).to(logits.device());
    scores.negative_log_likelihood -= likelihood(log_probabilities, next);
    if (reference_hidden.defined())
      compare(logits, log_probabilities, wide(reference_head.logits(reference_hidden.narrow(0, first, rows))), next,
              scores);
  }
  return scores;
}

}  // namespace spinor::runtime
