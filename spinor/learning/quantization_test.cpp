#include "spinor/learning/quantization.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/learning/testing.h"
#include "spinor/quant/activation.h"
#include "spinor/quant/presets.h"

namespace spinor::learning::quantization_test {
namespace {

using testing::distance;
using testing::heavy_rows;

constexpr int64_t kRows = 6, kSize = 64;

QuantizationArgs in_groups(int64_t size, bool symmetric) {
  QuantizationArgs args = ActivationQuantizer::token_args(4, symmetric);
  args.strategy = QuantizationStrategy::group;
  args.group_size = size;
  return args;
}

QuantizationArgs of_preset(const char* name) {
  return *preset(name, {"Linear"}, Place()).input_activations;
}

std::vector<std::pair<const char*, QuantizationArgs>> quantizers() {
  return {{"asymmetric", ActivationQuantizer::token_args(4, false)},
          {"symmetric", ActivationQuantizer::token_args(4, true)},
          {"8 bits", ActivationQuantizer::token_args(8, false)},
          {"groups", in_groups(16, false)},
          {"symmetric groups", in_groups(16, true)},
          {"NVFP4", of_preset("NVFP4")},
          {"MXFP4", of_preset("MXFP4")}};
}

int64_t group_of(const QuantizationArgs& args) {
  return args.group_size && *args.group_size > 0 ? *args.group_size : kSize;
}

at::Tensor ranges(const at::Tensor& y, const QuantizationArgs& args) {
  const at::Tensor groups = y.reshape({-1, group_of(args)});
  if (args.symmetric) return groups.abs().amax(1, true);
  return groups.amax(1, true).clamp_min(0) - groups.amin(1, true).clamp_max(0);
}

at::Tensor quantized(const at::Tensor& y, const QuantizationArgs& args) {
  StaticActivation fixed;
  if (has_global_scale(args)) fixed.global = global_scale_of(y);
  at::Tensor x = y.to(at::kFloat, false, /*copy=*/true);
  ActivationQuantizer::Scratch scratch;
  ActivationQuantizer(args, 1, fixed).apply({x.data_ptr<float>(), x.size(0), x.size(1)}, scratch);
  return x.to(at::kDouble);
}

double mean_error(const at::Tensor& y, const at::Tensor& x, const at::Tensor& w) {
  return ((x - y).square().mean(1).dot(w) / w.sum()).item<double>();
}

TEST(Quantization, IsTheErrorOfTheQuantizerThatRuns) {
  const at::Tensor y = heavy_rows(kRows, kSize).to(at::kFloat), w = at::arange(1, kRows + 1, at::kDouble);
  for (const auto& [name, args] : quantizers()) {
    const RowQuantizer quantizer{args};
    const double expected = mean_error(y.to(at::kDouble), quantized(y, args), w);
    EXPECT_NEAR(evaluate(find_objective("quantization"), y, w, &quantizer).loss, expected, 1e-6 * expected) << name;
  }
}

// Of the surrogate: y^ = y^_0 r / r_0 with codes as they are at y, which is smooth where the extremes stay in place.
TEST(Quantization, HasTheGradientOfItsSurrogate) {
  constexpr double kStep = 1e-5;
  const at::Tensor y = heavy_rows(kRows, kSize), w = at::arange(1, kRows + 1, at::kDouble);
  for (const auto& [name, args] : quantizers()) {
    const at::Tensor at_y = quantized(y, args), range_at_y = ranges(y, args);
    const auto loss = [&](const at::Tensor& moved) {
      const at::Tensor follows = at_y.reshape({-1, group_of(args)}) * (ranges(moved, args) / range_at_y);
      return mean_error(moved, follows.reshape(y.sizes()), w);
    };
    at::Tensor expected = at::empty_like(y);
    for (int64_t i = 0; i < y.numel(); ++i) {
      at::Tensor up = y.clone(), down = y.clone();
      up.view(-1)[i] += kStep;
      down.view(-1)[i] -= kStep;
      expected.view(-1)[i] = (loss(up) - loss(down)) / (2 * kStep);
    }
    const RowQuantizer quantizer{args};
    const RowGradient found = evaluate(find_objective("quantization"), y, w, &quantizer).gradient;
    // The surrogate is quadratic in most elements, so rounding is all: 1e-16 of the loss / step.
    EXPECT_LE(distance(found.values, expected), 1e-7) << name;
  }
}

TEST(Quantization, TakesRowsOfZeros) {
  for (const auto& [name, args] : quantizers()) {
    const RowQuantizer quantizer{args};
    const RowLoss found = evaluate(find_objective("quantization"), at::zeros({2, kSize}), at::ones({2}), &quantizer);
    EXPECT_EQ(found.loss, 0) << name;
    EXPECT_EQ(found.gradient.values.abs().max().item<float>(), 0) << name;
  }
}

TEST(Quantization, RefusesScalesThatDoNotComeFromRows) {
  QuantizationArgs fixed = ActivationQuantizer::token_args(8, true);
  fixed.strategy = QuantizationStrategy::tensor;
  EXPECT_THROW(check_row_quantizer(fixed, kSize), Error);
  EXPECT_THROW(check_row_quantizer(in_groups(24, true), kSize), Error);
  for (const auto& [name, args] : quantizers()) EXPECT_NO_THROW(check_row_quantizer(args, kSize)) << name;
}

}  // namespace
}  // namespace spinor::learning::quantization_test
