#include "spinor/runtime/module_factory.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "spinor/base/error.h"

namespace spinor::runtime {
namespace {

void check_locations(const RewritePlan& plan, const ForwardConfig& forward) {
  for (const OnlineTransform& online : plan.online()) {
    const Module* module = plan.model().find(online.module);
    const bool heads = !forward.latent && is_in_attention(online.location);
    const bool linear = module && module->kind == ModuleKind::linear;
    const bool embedding =
        module && module->kind == ModuleKind::embedding && online.location == TransformLocation::output;
    if (heads || linear || embedding) continue;
    throw Error(online.module, "spinor cannot run a transform at its " + std::string(name_of(online.location)),
                "it runs input and output of linears, output of embeddings, q_attn and k_cache");
  }
}

// As W (out, in).
at::Tensor as_matrix(const Module& module, at::Tensor weight) {
  return module.shape.transposed ? weight.transpose(-1, -2) : weight;
}

}  // namespace

ModuleFactory::ModuleFactory(RewritePlan plan, const RuntimeOptions& options)
    : weights_(std::move(plan), options),
      forward_(read_forward_config(weights_.plan().model())),
      schemes_(weights_.plan(), options) {
  check_locations(weights_.plan(), forward_);
}

// In the order of the groups: on an input, a later group's transform acts first; on an output last.
std::vector<Rotation> ModuleFactory::rotations(const std::string& module, TransformLocation location) const {
  std::vector<Rotation> result;
  for (const OnlineTransform& online : weights_.plan().online())
    if (online.module == module && online.location == location) result.push_back(online.r);
  if (location == TransformLocation::input) std::ranges::reverse(result);
  return result;
}

const Module& ModuleFactory::module(const std::string& name) const {
  const Module* found = model().find(name);
  if (!found) throw Error(name, "is not in the model, and its row says that it runs", "check `when` in the row");
  return *found;
}

Norm ModuleFactory::norm(const std::string& name) const {
  return norm(name, forward_.norm_epsilon);
}

Norm ModuleFactory::norm(const std::string& name, double epsilon) const {
  const Module& module = this->module(name);
  at::Tensor weight = weights_.compute(name + ".weight");
  if (module.offset != 0 && weight.defined()) weight = widened(weight) + module.offset;
  return {weight, weights_.compute(name + ".bias"), epsilon, module.layer_norm};
}

Stage ModuleFactory::input_stage(const Module& linear) const {
  Stage input{rotations(linear.name, TransformLocation::input), schemes_.input(linear)};
  if (surrogates_ && input.quantizer) input.surrogate = surrogates_->input(linear);
  return input;
}

Linear ModuleFactory::staged(const Module& module, at::Tensor weight, at::Tensor bias) const {
  Linear linear{.weight = std::move(weight),
                .bias = std::move(bias),
                .input = input_stage(module),
                .output = {rotations(module.name, TransformLocation::output), schemes_.output(module)},
                .name = module.name,
                .watcher = watcher_};
  if (watcher_) watcher_->made(linear);
  return linear;
}

Linear ModuleFactory::linear(const std::string& name, at::Tensor weight) const {
  const Module& module = this->module(name);
  if (!weight.defined()) weight = weights_.compute(weight_name(module));
  if (weight.defined()) weight = as_matrix(module, weight);
  return staged(module, std::move(weight), weights_.compute(name + ".bias"));
}

std::vector<Linear> ModuleFactory::stacked(const std::string& name) const {
  const Module& module = this->module(name);
  const at::Tensor weights = as_matrix(module, weights_.compute(weight_name(module)));
  const at::Tensor biases = module.bias ? weights_.compute(module.bias->info.name) : at::Tensor();
  std::vector<Linear> linears;
  for (int64_t i = 0; i < module.shape.count; ++i) {
    linears.push_back(staged(module, weights.select(0, i), biases.defined() ? biases.select(0, i) : at::Tensor()));
    linears.back().number = i;
  }
  return linears;
}

Linear ModuleFactory::router(const std::string& name) const {
  Linear router = linear(name);
  router.input.quantizer.reset();
  router.input.surrogate.reset();
  router.weight = widened(router.weight);
  if (router.bias.defined()) router.bias = widened(router.bias);
  return router;
}

}  // namespace spinor::runtime
