#include "spinor/learning/quantization.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/quant/activation.h"
#include "spinor/quant/scale.h"

namespace spinor::learning {
namespace {

bool in_groups(const QuantizationArgs& args) {
  return args.strategy == QuantizationStrategy::group || args.strategy == QuantizationStrategy::tensor_group;
}

// A new tensor of y's type and device. Codes are found in float32 on the CPU, whatever that is.
at::Tensor quantized(const at::Tensor& y, const RowQuantizer& quantizer) {
  StaticActivation fixed;
  fixed.global = quantizer.global;
  at::Tensor x = at::empty(y.sizes(), at::kFloat);
  x.copy_(y);
  ActivationQuantizer::Scratch scratch;
  ActivationQuantizer(quantizer.args, 1, fixed).apply({x.data_ptr<float>(), x.size(0), x.size(1)}, scratch);
  return x.to(y.options());
}

// dL/dr of each group becomes the gradient of the elements that make its range.
void add_to_extremes(const at::Tensor& y, const at::Tensor& x, const at::Tensor& error, bool symmetric,
                     at::Tensor gradient) {
  const at::Tensor pull = (error * x).sum(1, true);  // r dL/dr
  const auto per_range = [&](const at::Tensor& r) { return at::where(r > 0, pull / r, at::zeros_like(r)); };
  if (symmetric) {
    const auto [r, place] = y.abs().max(1, true);
    gradient.scatter_add_(1, place, per_range(r) * y.gather(1, place).sign_());
    return;
  }
  const auto [high, at_high] = y.max(1, true);
  const auto [low, at_low] = y.min(1, true);
  const at::Tensor slope = per_range(high.clamp_min(0) - low.clamp_max(0));
  gradient.scatter_add_(1, at_high, slope * (high > 0));
  gradient.scatter_add_(1, at_low, slope.neg() * (low < 0));
}

}  // namespace

int64_t group_size(const QuantizationArgs& args, int64_t n) {
  return in_groups(args) ? args.group_size.value_or(n) : n;
}

bool has_global_scale(const QuantizationArgs& args) {
  return args.strategy == QuantizationStrategy::tensor_group;
}

float global_scale_of(const at::Tensor& y) {
  return global_scale(DType::F32, y.abs().max().item<float>());
}

void check_row_quantizer(const QuantizationArgs& args, int64_t n) {
  (void)numbers_of(args);
  const QuantizationStrategy strategy = args.strategy.value_or(QuantizationStrategy::token);
  if (strategy != QuantizationStrategy::token && !in_groups(args))
    throw Error("activations", "are quantized by scales that are not found row by row",
                "the objective quantization knows the strategies token, group and tensor_group; take another");
  const int64_t size = group_size(args, n);
  if (size < 1 || n % size != 0)
    throw Error("activations", fmt::format("are quantized in groups of {}, which do not divide {}", size, n));
}

RowLoss quantization_loss(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer* quantizer) {
  const int64_t n = y.size(1);
  check_row_quantizer(quantizer->args, n);
  const at::Tensor x = quantized(y, *quantizer), error = x - y;
  const double loss = error.square().mean(1, true).to(at::kDouble).mul_(shares).sum().item<double>();
  const at::Tensor slope = error * (shares * (2.0 / static_cast<double>(n)));  // dL/dy^
  at::Tensor gradient = slope.neg();
  const std::vector<int64_t> groups = {-1, group_size(quantizer->args, n)};
  add_to_extremes(y.reshape(groups), x.reshape(groups), slope.reshape(groups), quantizer->args.symmetric,
                  gradient.view(groups));
  return {loss, {gradient, {}}};
}

}  // namespace spinor::learning
