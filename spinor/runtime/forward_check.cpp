#include "spinor/runtime/forward_check.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/runtime/decoder.h"
#include "spinor/runtime/score.h"
#include "spinor/runtime/torch_errors.h"

namespace spinor::runtime {
namespace {

constexpr size_t kTokens = 256;  // the products of a layer are a matrix of their square

// A model run once: its last hidden states, and the products of the stream's rows after each layer.
struct Trace {
  Decoder decoder;
  std::vector<at::Tensor> products, experts;  // experts: sorted, of the layers that have them
  at::Tensor hidden;

  Trace(const RewritePlan& plan, const at::Tensor& tokens, const RuntimeOptions& runtime) : decoder(plan, runtime) {
    hidden = decoder.forward(tokens, nullptr, [this](int64_t, const at::Tensor& stream, const at::Tensor& chosen) {
      if (chosen.defined()) experts.push_back(std::get<0>(chosen.sort(-1)));
      const at::Tensor x = stream.select(0, 0).to(at::kDouble);
      products.push_back(x.matmul(x.t()));
    });
  }
};

void compare_experts(const Trace& expected, const Trace& given, ForwardCheck& result) {
  if (expected.experts.empty() || expected.experts.size() != given.experts.size()) return;
  at::Tensor rerouted = at::zeros({expected.experts.front().size(0)}, at::kBool);
  double changed = 0;
  for (size_t i = 0; i < expected.experts.size(); ++i) {
    const at::Tensor differs = (expected.experts[i] != given.experts[i]).any(-1).to(at::kCPU);
    changed += differs.to(at::kDouble).mean().item<double>() / static_cast<double>(expected.experts.size());
    rerouted = at::logical_or(rerouted, differs);
  }
  result.choices_changed = changed;
  result.tokens_rerouted = rerouted.to(at::kDouble).mean().item<double>();
}

void require_comparable(const Model& source, const Model& output) {
  if (source.vocabulary_size() != output.vocabulary_size() || source.num_layers() != output.num_layers())
    throw Error(output.checkpoint().directory().string(),
                fmt::format("has {} layers and {} tokens, the source {} and {}", output.num_layers(),
                            output.vocabulary_size(), source.num_layers(), source.vocabulary_size()),
                "compare a model with the one it was made from");
}

ForwardCheck run(const RewritePlan& source, const RewritePlan& output, std::span<const int32_t> tokens,
                 const RuntimeOptions& runtime) {
  const c10::InferenceMode inference;
  const std::vector<int64_t> ids(tokens.begin(), tokens.begin() + std::min(tokens.size(), kTokens));
  const at::Tensor row = at::tensor(ids, at::kLong).unsqueeze(0);
  Trace expected(source, row, runtime), given(output, row, runtime);
  ForwardCheck result;
  for (size_t i = 0; i < expected.products.size(); ++i)
    result.layers.push_back(
        ((given.products[i] - expected.products[i]).norm() / expected.products[i].norm()).item<double>());
  compare_experts(expected, given, result);
  const auto predicting = [&](const Trace& trace) { return trace.hidden.select(0, 0).narrow(0, 0, row.size(1) - 1); };
  const at::Tensor targets = row.select(0, 0).narrow(0, 1, row.size(1) - 1);
  const Scores scores = score(predicting(given), targets, given.decoder, predicting(expected), &expected.decoder);
  const auto count = static_cast<double>(scores.tokens);
  const double deviation = std::sqrt(scores.reference_variance / count);
  result.logits_max = scores.largest_difference / deviation;
  result.logits_rms =
      std::sqrt(scores.squared_difference / count / static_cast<double>(source.model().vocabulary_size())) / deviation;
  result.divergence = scores.divergence / count;
  result.top1_agreement = static_cast<double>(scores.agreements) / count;
  result.source_perplexity = std::exp(scores.reference_negative_log_likelihood / count);
  result.perplexity = std::exp(scores.negative_log_likelihood / count);
  return result;
}

}  // namespace

std::optional<int64_t> ForwardCheck::first_departure(double bound) const {
  const auto found = std::ranges::find_if(layers, [&](double error) { return !(error <= bound); });
  return found == layers.end() ? std::nullopt : std::optional<int64_t>(found - layers.begin());
}

ForwardCheck check_forward(const RewritePlan& source, const RewritePlan& output, std::span<const int32_t> tokens,
                           const RuntimeOptions& runtime) {
  require_comparable(source.model(), output.model());
  if (tokens.size() < 2) throw Error("text", "has fewer than two tokens");
  return with_torch_errors([&] { return run(source, output, tokens, runtime); });
}

}  // namespace spinor::runtime
