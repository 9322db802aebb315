#include "spinor/runtime/mlp.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "spinor/base/error.h"
#include "spinor/runtime/norm.h"

namespace spinor::runtime {
namespace {

struct ActivationRow {
  std::string_view name;
  at::Tensor (*function)(at::Tensor);
};
const ActivationRow kActivations[] = {
    {"silu", [](at::Tensor x) { return at::silu_(x); }},
    {"swish", [](at::Tensor x) { return at::silu_(x); }},
    {"gelu", [](at::Tensor x) { return at::gelu(x); }},
    {"gelu_pytorch_tanh", [](at::Tensor x) { return at::gelu(x, "tanh"); }},
    {"gelu_new", [](at::Tensor x) { return at::gelu(x, "tanh"); }},
    {"relu", [](at::Tensor x) { return at::relu_(x); }},
    {"relu2", [](at::Tensor x) { return at::relu_(x).square(); }},
};

// Gate, and what it multiplies.
std::array<at::Tensor, 2> split(const at::Tensor& both, Gate gate) {
  const int64_t half = both.size(-1) / 2;
  if (gate == Gate::alternating) return {both.slice(-1, 0, 2 * half, 2), both.slice(-1, 1, 2 * half, 2)};
  return {both.narrow(-1, 0, half), both.narrow(-1, half, half)};
}

}  // namespace

Activation find_activation(const ForwardConfig& forward) {
  const auto* found = std::ranges::find(kActivations, forward.activation, &ActivationRow::name);
  if (found == std::end(kActivations))
    throw Error("config.json", fmt::format("hidden_act {} is not supported", forward.activation),
                "spinor runs silu, gelu, gelu_pytorch_tanh, gelu_new, relu and relu2");
  return {found->function, forward.swiglu_limit, forward.swiglu_alpha};
}

at::Tensor Activation::gated(at::Tensor gate, const at::Tensor& up) const {
  if (!limit) {
    at::Tensor activated = function(std::move(gate));
    return activated.requires_grad() ? activated * up : activated.mul_(up);  // relu's gradient needs what it gave
  }
  gate = gate.clamp_max(*limit);
  return gate.mul_((gate * alpha).sigmoid_()).mul_(up.clamp(-*limit, *limit).add_(1));
}

at::Tensor Mlp::operator()(LinearInput& x, const Activation& activation) const {
  at::Tensor inner;
  if (gate == Gate::none) {
    inner = activation.function(in(x));
  } else if (gate == Gate::own) {
    at::Tensor first = (*gate_in)(x);
    inner = activation.gated(std::move(first), in(x));
  } else {
    const auto [first, second] = split(in(x), gate);
    inner = activation.gated(first.contiguous(), second);
  }
  LinearInput read(inner.contiguous(), true);
  return out(read);
}

}  // namespace spinor::runtime
