// The loss of a network whose activations are quantized, and its gradient with respect to its rotations.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "spinor/calibration/samples.h"
#include "spinor/learning/objective.h"
#include "spinor/plan/plan.h"
#include "spinor/runtime/ends.h"
#include "spinor/runtime/layer.h"
#include "spinor/runtime/surrogates.h"

namespace spinor::learning {

class Network {
 public:
  // The plan's model with its weights unquantized and not rounded, on these samples. Where activations are quantized,
  // Frames say how. runtime.dtype is that of all arithmetic. Where the objective compares, the model runs once
  // without quantization. Errors as of ModuleFactory and Ends; of a model that cannot be run.
  Network(const RewritePlan& plan, const calibration::Samples& samples, const Objective& objective,
          runtime::Surrogates& quantizers, const runtime::RuntimeOptions& runtime, std::stop_token stop = {});

  // The mean over all tokens that have a next one, of the samples with these numbers. Error for a loss that is not
  // finite.
  double loss(std::span<const int64_t> samples);
  // The same; adds its gradient to those of the matrices in the surrogates. Layer by layer: first forward, keeping the
  // stream before each; then backward, where each layer runs once more and is differentiated. Memory: the streams, and
  // of one layer and one sample what differentiating it keeps.
  double add_gradient(std::span<const int64_t> samples);

 private:
  using Streams = std::vector<at::Tensor>;  // one a sample, (1, tokens, hidden)

  void embed(const calibration::Samples& samples);
  void run_reference(const RewritePlan& plan, const runtime::RuntimeOptions& runtime);
  const runtime::Layer& layer(int64_t index);
  Streams start(std::span<const int64_t> samples) const;
  double finish(std::span<const int64_t> samples, Streams& streams, bool differentiate);
  at::Tensor sum_of(int64_t sample, int64_t first, const at::Tensor& stream);
  void differentiate_layer(int64_t index, const Streams& before, Streams& gradients);

  const Objective& objective_;
  std::stop_token stop_;
  runtime::ModuleFactory factory_;
  bool resident_;
  runtime::Ends ends_;
  runtime::RopeTables tables_;
  std::vector<std::optional<runtime::Layer>> layers_;  // those that are held: all, or the last one
  at::Tensor tokens_;                                  // (samples, tokens)
  Streams embedded_, reference_;                       // of all samples; after the final norm
};

}  // namespace spinor::learning
