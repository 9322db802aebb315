// A perceptron between two linears.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "spinor/model/forward_config.h"
#include "spinor/model/forward_modules.h"
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

struct Mlp {
  Gate gate = Gate::none;
  std::optional<Linear> gate_in;
  Linear in, out;

  at::Tensor operator()(LinearInput& x, const Activation& activation) const;
  // Whether all that read x read it behind the same stage, so that x may be overwritten.
  bool reads_alike() const { return !gate_in || gate_in->input.same_as(in.input); }
};

}  // namespace spinor::runtime
