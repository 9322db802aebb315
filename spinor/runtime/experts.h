// Mixtures of experts: each computes only the tokens that chose it.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "spinor/model/forward_config.h"
#include "spinor/runtime/linear.h"
#include "spinor/runtime/mlp.h"

namespace spinor::runtime {

// Chooses experts for each token.
struct Router {
  Linear linear;          // in float32 at least
  at::Tensor correction;  // undefined: none
  Routing routing = Routing::softmax;
  RouterConfig config;
  bool best_two = false;

  struct Choice {
    at::Tensor experts, weights;  // (tokens, chosen)
  };
  Choice operator()(const at::Tensor& x) const;  // x (tokens, hidden)

 private:
  at::Tensor among_best_groups(const at::Tensor& scores) const;
};

struct FeedForward {
  Activation activation;
  std::optional<Mlp> common;          // of every token
  std::optional<Linear> common_gate;  // in float32 at least
  std::optional<Router> router;
  std::vector<Mlp> experts;
  std::vector<at::Tensor>* choices = nullptr;  // takes the experts that are chosen: (tokens, chosen)

  // x: what it reads of the stream.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor routed(const at::Tensor& x) const;
};

}  // namespace spinor::runtime
