// The parts of a model, made from a plan: linears and norms by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/model/forward_config.h"
#include "spinor/runtime/activation_schemes.h"
#include "spinor/runtime/linear.h"
#include "spinor/runtime/norm.h"
#include "spinor/runtime/weights.h"

namespace spinor::runtime {

class ModuleFactory {
 public:
  // Error for an online transform at a place where spinor cannot run one.
  ModuleFactory(RewritePlan plan, const RuntimeOptions& options);

  const Weights& weights() const { return weights_; }
  Weights& weights() { return weights_; }
  const Model& model() const { return weights_.plan().model(); }
  const ForwardConfig& forward() const { return forward_; }
  const ActivationSchemes& schemes() const { return schemes_; }

  // Who sees what goes through the modules that are made from now on.
  void watch(LayerWatcher* watcher) { watcher_ = watcher; }
  LayerWatcher* watcher() const { return watcher_; }
  // What stands in for the quantizers of activations in what is made from now on.
  void replace_quantizers(Surrogates* surrogates) { surrogates_ = surrogates; }
  Surrogates* surrogates() const { return surrogates_; }

  bool has(const std::string& name) const { return model().find(name) != nullptr; }
  const Module& module(const std::string& name) const;  // Error if the model does not have it
  Norm norm(const std::string& name) const;
  Norm norm(const std::string& name, double epsilon) const;
  // With this weight, if it is defined.
  Linear linear(const std::string& name, at::Tensor weight = {}) const;
  Stage input_stage(const Module& linear) const;
  std::vector<Linear> stacked(const std::string& name) const;  // one for each expert
  Linear router(const std::string& name) const;                // in float32 at least, its input not quantized
  // Transforms in the order in which they act.
  std::vector<Rotation> rotations(const std::string& module, TransformLocation location) const;

 private:
  Linear staged(const Module& module, at::Tensor weight, at::Tensor bias) const;

  Weights weights_;
  ForwardConfig forward_;
  ActivationSchemes schemes_;
  LayerWatcher* watcher_ = nullptr;
  Surrogates* surrogates_ = nullptr;
};

}  // namespace spinor::runtime
