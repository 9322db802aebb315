#include "spinor/learning/frames.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/learning/quantization.h"
#include "spinor/learning/straight_through.h"
#include "spinor/model/forward_config.h"
#include "spinor/model/module_name.h"
#include "spinor/runtime/activation_schemes.h"

namespace spinor::learning {
namespace {

// x blockdiag(P, ..., P).
at::Tensor times(const at::Tensor& x, const at::Tensor& p) {
  return x.reshape({-1, p.size(0)}).mm(p).reshape(x.sizes());
}

bool is_transformed(const RewritePlan& plan, const std::string& linear) {
  return std::ranges::any_of(plan.online(), [&](const OnlineTransform& online) {
    return online.module == linear && online.location == TransformLocation::input;
  });
}

}  // namespace

Frames::Frames(const RewritePlan& plan, std::map<std::string, at::Tensor> matrices,
               const runtime::RuntimeOptions& runtime)
    : matrices_(std::move(matrices)), activations_(runtime.activations), kv_(runtime.kv) {
  find_readers(plan);
  find_values(plan);
  for (const auto& [place, name] : places_)
    if (is_transformed(plan, place))
      throw Error(place,
                  fmt::format("has a transform of its own at its input, behind which {} cannot be learned from "
                              "the whole network",
                              name),
                  "take an objective of rows");
  for (const auto& [name, matrix] : matrices_) {
    if (std::ranges::none_of(places_, [&](const auto& place) { return place.second == name; }))
      throw Error(name, "stands before nothing that is quantized: the network does not depend on it",
                  "give activations few bits (learning.activation_bits), or take an objective of rows");
    set(name, matrix);
  }
}

void Frames::find_readers(const RewritePlan& plan) {
  if (!matrices_.contains("R1") || !activations_) return;
  for (const Module* linear : plan.model().stream().readers())
    if (plan.model().is_in_layers(*linear)) places_[linear->name] = "R1";
}

void Frames::find_values(const RewritePlan& plan) {
  const Model& model = plan.model();
  const bool latent = read_forward_config(model).latent.has_value();  // what is cached is not the heads
  for (const ValueOutput& pair : model.value_outputs()) {
    const std::string name = fmt::format("R2.{}", pair.output->layer);
    if (!matrices_.contains(name)) continue;
    if (activations_) places_[pair.output->name] = name;
    if (kv_ && !latent)
      places_[model.layer_prefix(pair.output->layer) + std::string(parent_of(model.architecture()->attention.query))] =
          name;
  }
}

void Frames::set(const std::string& name, const at::Tensor& matrix) {
  matrices_.at(name) = matrix.detach().requires_grad_(true);
}

at::Tensor Frames::gradient(const std::string& name) const {
  const at::Tensor& matrix = matrices_.at(name);
  return matrix.grad().defined() ? matrix.grad() : at::zeros_like(matrix, at::TensorOptions().requires_grad(false));
}

std::shared_ptr<const runtime::Surrogate> Frames::input(const Module& linear) {
  check_row_quantizer(runtime::args_of(*activations_), linear.shape.in);
  return at_place(linear.name, What::linear_input);
}

std::shared_ptr<const runtime::Surrogate> Frames::keys(const std::string&) {
  return at_place("", What::cache);
}

std::shared_ptr<const runtime::Surrogate> Frames::values(const std::string& attention) {
  return at_place(attention, What::cache);
}

// One for all places with the same matrix, so that linears which read the same are quantized once.
std::shared_ptr<const runtime::Surrogate> Frames::at_place(const std::string& place, What what) {
  const auto found = places_.find(place);
  const std::string name = found == places_.end() ? "" : found->second;
  std::shared_ptr<const runtime::Surrogate>& made = made_[{name, what}];
  if (made) return made;
  const runtime::LowBits& bits = what == What::cache ? *kv_ : *activations_;
  const QuantizationArgs args = runtime::args_of(bits);
  const ActivationQuantizer quantizer = runtime::quantizer_of(bits);
  made = std::make_shared<runtime::Surrogate>([this, name, args, quantizer](const at::Tensor& x) {
    if (name.empty()) return straight_through(x, quantizer, args);
    const at::Tensor& p = matrices_.at(name);
    return times(straight_through(times(x, p), quantizer, args), p.t());
  });
  return made;
}

}  // namespace spinor::learning
