#include "spinor/learning/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/runtime/decoder.h"
#include "spinor/runtime/layer_factory.h"

namespace spinor::learning {
namespace {

constexpr int64_t kLogitsAtOnce = 1 << 22;  // 16 MiB of floats, some five times over

// Edited weights are as exact as the arithmetic.
runtime::RuntimeOptions unrounded(runtime::RuntimeOptions options) {
  options.saved = options.dtype;
  return options;
}

}  // namespace

Network::Network(const RewritePlan& plan, const calibration::Samples& samples, const Objective& objective,
                 runtime::Surrogates& quantizers, const runtime::RuntimeOptions& runtime, std::stop_token stop)
    : objective_(objective),
      stop_(std::move(stop)),
      factory_(plan.unquantized(), unrounded(runtime)),
      resident_(factory_.weights().bytes() <= runtime.memory),
      ends_(factory_, resident_),
      tables_(runtime::rope_tables(factory_.forward(), 0, samples.context, runtime)),
      layers_(static_cast<size_t>(factory_.model().num_layers())) {
  const at::NoGradGuard constant;
  runtime::find_activation(factory_.forward());
  factory_.replace_quantizers(&quantizers);
  embed(samples);
  if (objective_.needs_reference) run_reference(plan, runtime);
}

void Network::embed(const calibration::Samples& samples) {
  tokens_ = at::tensor(samples.tokens, at::kInt).to(at::kLong).reshape({samples.count, samples.context});
  runtime::check_tokens(factory_.model(), tokens_);
  for (int64_t i = 0; i < samples.count; ++i) embedded_.push_back(ends_.embed(tokens_.narrow(0, i, 1), 0));
}

void Network::run_reference(const RewritePlan& plan, const runtime::RuntimeOptions& runtime) {
  runtime::RuntimeOptions plain = unrounded(runtime);
  plain.activations = plain.kv = std::nullopt;
  const runtime::ModuleFactory factory(plan.unquantized(), plain);
  for (const at::Tensor& stream : embedded_) reference_.push_back(stream.clone());
  for (int64_t i = 0; i < factory.model().num_layers(); ++i) {
    if (stop_.stop_requested()) throw Stopped();
    const runtime::Layer layer = runtime::make_layer(factory, i);
    for (at::Tensor& stream : reference_) stream = layer(stream, tables_, nullptr);
  }
  for (at::Tensor& stream : reference_) stream = ends_.norm(stream);
}

const runtime::Layer& Network::layer(int64_t index) {
  if (stop_.stop_requested()) throw Stopped();
  std::optional<runtime::Layer>& held = layers_[static_cast<size_t>(index)];
  if (held) return *held;
  if (!resident_)
    for (std::optional<runtime::Layer>& other : layers_) other.reset();
  held = runtime::make_layer(factory_, index);
  return *held;
}

Network::Streams Network::start(std::span<const int64_t> samples) const {
  Streams streams;
  for (const int64_t i : samples) streams.push_back(embedded_[static_cast<size_t>(i)].clone());
  return streams;
}

double Network::loss(std::span<const int64_t> samples) {
  const at::NoGradGuard constant;
  Streams streams = start(samples);
  for (size_t i = 0; i < layers_.size(); ++i)
    for (at::Tensor& stream : streams) stream = layer(static_cast<int64_t>(i))(stream, tables_, nullptr);
  return finish(samples, streams, false);
}

double Network::add_gradient(std::span<const int64_t> samples) {
  std::vector<Streams> before;  // each layer
  Streams streams = start(samples);
  {
    const at::NoGradGuard constant;
    for (size_t i = 0; i < layers_.size(); ++i) {
      before.push_back(streams);
      for (at::Tensor& stream : streams) stream = layer(static_cast<int64_t>(i))(stream.clone(), tables_, nullptr);
    }
  }
  const double loss = finish(samples, streams, true);
  for (size_t i = layers_.size(); i-- > 0;) {
    differentiate_layer(static_cast<int64_t>(i), before[i], streams);
    before.pop_back();
  }
  return loss;
}

// Each stream becomes its gradient, if it is to be differentiated.
double Network::finish(std::span<const int64_t> samples, Streams& streams, bool differentiate) {
  const double predicted = static_cast<double>(std::ssize(samples) * (tokens_.size(1) - 1));
  const int64_t step = std::max<int64_t>(1, kLogitsAtOnce / factory_.model().vocabulary_size());
  double sum = 0;
  for (size_t i = 0; i < streams.size(); ++i) {
    at::Tensor gradient = differentiate ? at::zeros_like(streams[i]) : at::Tensor();
    for (int64_t first = 0; first + 1 < tokens_.size(1); first += step) {
      const int64_t count = std::min(step, tokens_.size(1) - 1 - first);
      const at::AutoGradMode mode(differentiate);
      const at::Tensor some = streams[i].narrow(1, first, count).detach().clone().requires_grad_(differentiate);
      const at::Tensor part = sum_of(samples[i], first, some);
      sum += part.item<double>();
      if (!differentiate) continue;
      (part / predicted).backward();
      gradient.narrow(1, first, count).copy_(some.grad());
    }
    streams[i] = gradient;
  }
  if (std::isfinite(sum)) return sum / predicted;
  throw Error(std::string(factory_.model().architecture_name()),
              fmt::format("its loss by the objective {} is not finite", objective_.name),
              "look for the layer that makes it so: spinor eval, spinor inspect");
}

// Over some tokens of a sample, of the stream before the final norm.
at::Tensor Network::sum_of(int64_t sample, int64_t first, const at::Tensor& stream) {
  const int64_t count = stream.size(1);
  const at::Tensor logits = ends_.logits(ends_.norm(stream)).squeeze(0);
  at::Tensor reference;
  if (objective_.needs_reference) {
    const at::NoGradGuard constant;
    reference = ends_.logits(reference_[static_cast<size_t>(sample)].narrow(1, first, count)).squeeze(0);
  }
  const at::Tensor next = tokens_.select(0, sample).narrow(0, first + 1, count).to(logits.device());
  return objective_.of_logits(runtime::widened(logits), reference.defined() ? runtime::widened(reference) : reference,
                              next);
}

void Network::differentiate_layer(int64_t index, const Streams& before, Streams& gradients) {
  const runtime::Layer& differentiated = layer(index);
  const at::AutoGradMode mode(true);
  for (size_t i = 0; i < before.size(); ++i) {
    const at::Tensor x = before[i].detach().clone().requires_grad_(index > 0);
    const at::Tensor y = differentiated(x, tables_, nullptr);
    if (y.requires_grad()) y.backward(gradients[i]);
    if (index > 0) gradients[i] = x.grad();
  }
}

}  // namespace spinor::learning
