// The parts of one decoder layer, and how they are made from a plan.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "spinor/model/forward_config.h"
#include "spinor/runtime/activation_schemes.h"
#include "spinor/runtime/linear.h"
#include "spinor/runtime/weights.h"

namespace spinor {

struct Layer {
  Norm attention_norm, mlp_norm;
  std::optional<Norm> query_norm, key_norm;
  Linear query, key, value, output, gate, up, down;
  Stage queries, keys, values;  // of heads: after RoPE; values have no RoPE
};

// Makes layers, and what is outside of them, in the order in which they are needed.
class LayerFactory {
 public:
  LayerFactory(RewritePlan plan, const RuntimeOptions& options);

  const Weights& weights() const { return weights_; }
  const ForwardConfig& forward() const { return forward_; }
  Layer layer(int64_t index) const;
  Norm final_norm() const;
  Linear head(const at::Tensor& tied = {}) const;  // with this weight, if it is defined
  Stage embedding_output() const;

 private:
  Norm norm(const std::string& name) const;
  Linear linear(const std::string& name, at::Tensor weight = {}) const;
  std::vector<Rotation> rotations(const std::string& module, std::string_view location) const;

  Weights weights_;
  ForwardConfig forward_;
  ActivationSchemes schemes_;
};

}  // namespace spinor
