// Whether two checkpoints are the same function, by running both. Needs no header of libtorch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace spinor::runtime {

struct ForwardCheck {
  // Logits, in standard deviations of the source's.
  double logits_max = 0, logits_rms = 0;
  double divergence = 0;      // KL(source || output), nats a token
  double top1_agreement = 0;  // of tokens
  double source_perplexity = 0, perplexity = 0;
  // By layer: how far the products x_i . x_j of the residual stream's rows, which no rotation changes, are from the
  // source's, relative to all of them (Frobenius norms).
  std::vector<double> layers = {};
  // Of a mixture of experts: the share of tokens that chose another set of experts in some layer, and the share of all
  // choices of all tokens and layers. Rounding exchanges experts that are almost as good.
  std::optional<double> tokens_rerouted = {}, choices_changed = {};

  // The first layer whose products are further off than `bound`.
  std::optional<int64_t> first_departure(double bound) const;
};

// tokens: at least two; of a long text the first 256 are taken. Errors as of Decoder, and for models of different
// vocabularies or numbers of layers.
ForwardCheck check_forward(const RewritePlan& source, const RewritePlan& output, std::span<const int32_t> tokens,
                           const RuntimeOptions& runtime);

}  // namespace spinor::runtime
