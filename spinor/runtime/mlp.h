// A perceptron between two linears, and mixtures of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "spinor/model/forward_config.h"
#include "spinor/runtime/linear.h"

namespace spinor::runtime {

// Of what the first linear makes.
struct Activation {
  at::Tensor (*function)(at::Tensor) = nullptr;  // of an argument that may be overwritten
  std::optional<double> limit;                   // then a gate is clamped, and what it multiplies is, and grows by one
  double alpha = 1;                              // and the function is x / (1 + exp(-alpha x))

  at::Tensor gated(at::Tensor gate, const at::Tensor& up) const;
};
// Error for a name that spinor does not know.
Activation find_activation(const ForwardConfig& forward);

enum class Gate {
  none,
  own,          // a linear of its own
  first_half,   // the first half of the rows
  alternating,  // every second row, from the first on
};
struct Mlp {
  Gate gate = Gate::none;
  std::optional<Linear> gate_in;
  Linear in, out;

  at::Tensor operator()(LinearInput& x, const Activation& activation) const;
};

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
  std::vector<at::Tensor>* observed = nullptr;  // takes the experts that are chosen: (tokens, chosen)

  // x: what it reads of the stream.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor routed(const at::Tensor& x) const;
};

}  // namespace spinor::runtime
