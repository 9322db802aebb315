#include "spinor/learning/objective.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/learning/network_objectives.h"
#include "spinor/learning/quantization.h"

namespace spinor::learning {
namespace {

constexpr int64_t kElementsAtOnce = 1 << 15;  // 128 KiB of floats: a few of them fit the L2 cache

double weighted_sum(const at::Tensor& losses, const at::Tensor& shares) {
  return losses.to(at::kDouble).mul(shares.to(at::kDouble)).sum().item<double>();
}

// a = |y - mean y|, p = softmax(a / 2), L = |p a|: with z = p a, dL/da = (p + z / 2) dz - p (z . dz) / 2.
RowLoss psot(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer*) {
  const at::Tensor centred = y - y.mean(1, true), a = centred.abs();
  const at::Tensor p = at::softmax(a * 0.5, 1), z = p * a;
  const at::Tensor norm = at::linalg_vector_norm(z, 2, at::IntArrayRef{1}, true);
  // A row of one value has z = 0, and no direction.
  const at::Tensor dz = z * (shares / at::where(norm == 0, at::ones_like(norm), norm));
  at::Tensor dy = at::add(p, z, 0.5).mul_(dz).sub_(p * (norm * shares * 0.5)).mul_(centred.sign());
  dy.sub_(dy.mean(1, true));
  return {weighted_sum(norm, shares), {dy, {}}};
}

RowLoss range(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer*) {
  const auto [high, at_high] = y.max(1, true);
  const auto [low, at_low] = y.min(1, true);
  const at::Tensor r = high - low, slope = r * shares * 2;
  return {weighted_sum(r.square(), shares), {at::cat({slope, -slope}, 1), at::cat({at_high, at_low}, 1)}};
}

RowLoss whip(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer*) {
  const at::Tensor e = at::exp(y.abs().neg_());
  const double loss = weighted_sum(e.sum(1, true), shares);
  return {loss, {y.sign().mul_(e).mul_(-shares), {}}};
}

RowLoss fourth_powers(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer*) {
  const at::Tensor squares = y.square();
  return {weighted_sum(squares.square().sum(1, true), shares), {(squares * y).mul_(shares * 4), {}}};
}

constexpr LearningDefaults kEndToEnd = {.steps = 50, .batch = 512, .learning_rate = 0.0002};

constexpr Objective kObjectives[] = {
    {"psot", "InfoQuant, arXiv 2605.26175: the 2-norm of softmax(|x - mean| / T) |x - mean|, T = 2", 30, false, psot},
    {"range", "the square of the step of asymmetric quantization per token: (max - min)^2", 100, false, range},
    {"whip", "DartQuant, arXiv 2511.04063: the sum of exp(-|x|)", 100, false, whip},
    {"weights", "OptRot, arXiv 2512.24124: the sum of fourth powers, of rows of weights", 1, false, fourth_powers},
    {"quantization", "the mean squared error of the recipe's quantizer, straight through its codes", 100, true,
     quantization_loss},
    {.name = "kl",
     .source =
         "end to end, after SpinQuant, arXiv 2405.16406: KL divergence of the quantized network from its float one",
     .of_logits = divergence_of_logits,
     .needs_reference = true,
     .start = "psot",
     .defaults = kEndToEnd},
    {.name = "cross_entropy",
     .source = "SpinQuant, arXiv 2405.16406: the quantized network's loss on the next token",
     .of_logits = cross_entropy_of_logits,
     .start = "psot",
     .defaults = kEndToEnd},
};

// A few rows at once, so that what is made on the way stays in the cache: a dozen passes over memory become one or two.
RowLoss evaluate_in_parts(const Objective& objective, const at::Tensor& y, const at::Tensor& shares,
                          const RowQuantizer* quantizer) {
  const int64_t rows = y.size(0), step = y.is_cpu() ? std::max<int64_t>(1, kElementsAtOnce / y.size(1)) : rows;
  std::vector<RowLoss> parts(static_cast<size_t>((rows + step - 1) / step));
  at::parallel_for(0, std::ssize(parts), 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference;  // a thread does not inherit it
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * step, count = std::min(step, rows - first);
      parts[static_cast<size_t>(part)] =
          objective.evaluate(y.narrow(0, first, count), shares.narrow(0, first, count), quantizer);
    }
  });
  double loss = 0;
  std::vector<at::Tensor> values, columns;
  for (RowLoss& part : parts) {
    loss += part.loss;
    values.push_back(std::move(part.gradient.values));
    if (part.gradient.columns.defined()) columns.push_back(std::move(part.gradient.columns));
  }
  return {loss, {at::cat(values), columns.empty() ? at::Tensor() : at::cat(columns)}};
}

}  // namespace

std::span<const Objective> objectives() {
  return kObjectives;
}

const Objective& find_objective(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Objective& objective : kObjectives) {
    if (objective.name == name) return objective;
    names.push_back(objective.name);
  }
  throw Error("objective", fmt::format("'{}' is unknown", name), suggest_name(name, names));
}

RowLoss evaluate(const Objective& objective, const at::Tensor& y, const at::Tensor& weights,
                 const RowQuantizer* quantizer) {
  if (objective.of_network())
    throw Error(fmt::format("objective {}", objective.name), "is of the whole network, not of rows",
                "take an objective of rows");
  if (objective.needs_quantizer && !quantizer)
    throw Error(fmt::format("objective {}", objective.name), "there is no quantizer whose error it could be",
                "quantize activations in the recipe, or take another objective");
  const at::Tensor shares = weights.to(at::kDouble).div(weights.sum(at::kDouble)).to(y.scalar_type()).unsqueeze(1);
  if (!quantizer) return evaluate_in_parts(objective, y, shares, nullptr);
  RowQuantizer of_all = *quantizer;
  if (has_global_scale(of_all.args) && !of_all.global) of_all.global = global_scale_of(y);
  return evaluate_in_parts(objective, y, shares, &of_all);
}

at::Tensor rotation_gradient(const at::Tensor& y, const RowGradient& gradient, int64_t size) {
  const at::Tensor blocks = y.reshape({-1, size});
  if (!gradient.columns.defined()) return blocks.t().mm(gradient.values.reshape({-1, size}));
  const at::Tensor first = at::arange(y.size(0), gradient.columns.options()).mul_(y.size(1)).unsqueeze(1);
  const at::Tensor places = (first + gradient.columns).flatten();  // in y as one row
  const at::Tensor terms = blocks.index_select(0, places.div(size, "floor")).mul_(gradient.values.reshape({-1, 1}));
  return at::zeros({size, size}, y.options()).index_add_(0, places.remainder(size), terms).t();
}

}  // namespace spinor::learning
