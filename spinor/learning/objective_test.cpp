#include "spinor/learning/objective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "spinor/base/error.h"
#include "spinor/learning/quantization.h"
#include "spinor/learning/testing.h"
#include "spinor/quant/presets.h"
#include "spinor/runtime/matrices.h"

namespace spinor::learning::objective_test {
namespace {

using testing::distance;
using testing::heavy_rows;

constexpr int64_t kRows = 6, kSize = 32;

at::Tensor weights_of(int64_t count) {
  return at::arange(1, count + 1, at::kDouble);
}

at::Tensor dense(const RowGradient& gradient, const at::Tensor& y) {
  if (!gradient.columns.defined()) return gradient.values;
  return at::zeros_like(y).scatter_add_(1, gradient.columns, gradient.values);
}

// The central difference of each element.
at::Tensor finite_differences(const std::function<double(const at::Tensor&)>& loss, const at::Tensor& y, double step) {
  at::Tensor result = at::empty_like(y);
  for (int64_t i = 0; i < y.size(0); ++i)
    for (int64_t j = 0; j < y.size(1); ++j) {
      at::Tensor up = y.clone(), down = y.clone();
      up[i][j] += step;
      down[i][j] -= step;
      result[i][j] = (loss(up) - loss(down)) / (2 * step);
    }
  return result;
}

// |y|, |y - mean| and the places of the extremes change at points that are not smooth. Rows have none within a step:
// no element is nearer to 0 or to the mean, and none nearer to an extreme.
bool smooth_within(const at::Tensor& y, double step) {
  const auto sorted = std::get<0>(y.sort(1));
  const auto magnitudes = std::get<0>(y.abs().sort(1));
  const at::Tensor gaps[] = {y.abs(), (y - y.mean(1, true)).abs(), sorted.select(1, 1) - sorted.select(1, 0),
                             sorted.select(1, -1) - sorted.select(1, -2),
                             magnitudes.select(1, -1) - magnitudes.select(1, -2)};
  for (const at::Tensor& gap : gaps)
    if (!(gap.min().item<double>() > 2 * step)) return false;
  return true;
}

TEST(Objectives, HaveTheGradientOfTheirLoss) {
  constexpr double kStep = 1e-5;
  const at::Tensor y = heavy_rows(kRows, kSize), w = weights_of(kRows);
  ASSERT_TRUE(smooth_within(y, kStep));
  for (const Objective& objective : objectives()) {
    if (objective.of_network() || objective.needs_quantizer)
      continue;  // its loss is not continuous: quantization_test.cpp
    const auto loss = [&](const at::Tensor& x) { return evaluate(objective, x, w).loss; };
    const at::Tensor expected = finite_differences(loss, y, kStep);
    // The difference is off by step^2 / 6 third derivatives, and by rounding: 1e-16 of the loss / step.
    EXPECT_LE(distance(dense(evaluate(objective, y, w).gradient, y), expected), 1e-7) << objective.name;
  }
}

TEST(Objectives, AreMeansOverRowsByWeight) {
  const at::Tensor y = heavy_rows(3, kSize), w = at::tensor({1.0, 30.0, 2.0}, at::kDouble);
  for (const Objective& objective : objectives()) {
    if (objective.of_network() || objective.needs_quantizer) continue;
    double sum = 0;
    for (int64_t i = 0; i < 3; ++i)
      sum += w[i].item<double>() * evaluate(objective, y.narrow(0, i, 1), w.narrow(0, i, 1)).loss;
    EXPECT_NEAR(evaluate(objective, y, w).loss, sum / 33, 1e-12 * sum) << objective.name;
  }
}

// More rows than are evaluated at once, in float32, also with a scale that all rows share.
TEST(Objectives, OfManyRowsAreThoseOfTheirParts) {
  constexpr int64_t kMany = 3000, kSome = 100;
  const at::Tensor y = heavy_rows(kMany, kSize).to(at::kFloat), w = at::arange(1, kMany + 1, at::kFloat);
  const RowQuantizer quantizer{*preset("NVFP4", {"Linear"}, Place()).input_activations, global_scale_of(y)};
  for (const Objective& objective : objectives()) {
    if (objective.of_network()) continue;
    const RowQuantizer* with = objective.needs_quantizer ? &quantizer : nullptr;
    const RowLoss whole = evaluate(objective, y, w, with);
    double sum = 0;
    for (int64_t first = 0; first < kMany; first += kSome) {
      const at::Tensor some = y.narrow(0, first, kSome), weights = w.narrow(0, first, kSome);
      const double share = (weights.sum(at::kDouble) / w.sum(at::kDouble)).item<double>();
      const RowLoss part = evaluate(objective, some, weights, with);
      sum += share * part.loss;
      const RowGradient mine{
          whole.gradient.values.narrow(0, first, kSome),
          whole.gradient.columns.defined() ? whole.gradient.columns.narrow(0, first, kSome) : at::Tensor()};
      // Weights are rounded to float once more.
      EXPECT_LE(distance(dense(mine, some), dense(part.gradient, some) * share), 1e-6) << objective.name;
    }
    EXPECT_NEAR(whole.loss, sum, 1e-6 * sum) << objective.name;
    if (with) {
      const RowQuantizer without{quantizer.args};
      EXPECT_EQ(evaluate(objective, y, w, &without).loss, whole.loss);
    }
  }
}

TEST(Objectives, FallFromOneLargeElementToManyEqualOnes) {
  const at::Tensor spike = at::zeros({1, 16}, at::kDouble), flat = at::ones({1, 16}, at::kDouble);
  spike[0][3] = 4;
  flat.narrow(1, 0, 8).neg_();
  for (const Objective& objective : objectives()) {
    if (objective.of_network() || objective.needs_quantizer) continue;
    const at::Tensor one = at::ones({1}, at::kDouble);
    EXPECT_LT(evaluate(objective, flat, one).loss, evaluate(objective, spike, one).loss) << objective.name;
  }
}

TEST(Objectives, TakeRowsOfOneValue) {
  const at::Tensor y = at::ones({2, 8}, at::kFloat);
  for (const Objective& objective : objectives()) {
    if (objective.of_network() || objective.needs_quantizer) continue;
    const RowLoss found = evaluate(objective, y, at::ones({2}));
    EXPECT_TRUE(at::isfinite(found.gradient.values).all().item<bool>()) << objective.name;
  }
}

TEST(Objectives, AreFoundByName) {
  EXPECT_EQ(find_objective("range").name, "range");
  try {
    find_objective("rnge");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "objective: 'rnge' is unknown; did you mean 'range'?");
  }
  EXPECT_THROW(evaluate(find_objective("quantization"), heavy_rows(2, 8), weights_of(2)), Error);
}

// Every block's own columns, put on the diagonal.
at::Tensor block_diagonal(const at::Tensor& r, int64_t count) {
  return at::block_diag(std::vector<at::Tensor>(static_cast<size_t>(count), r));
}

TEST(RotationGradient, IsTheSameForSparseAndDenseGradientsOfRows) {
  const at::Tensor y = heavy_rows(50, kSize), w = weights_of(50);
  const RowGradient sparse = evaluate(find_objective("range"), y, w).gradient;
  ASSERT_EQ(sparse.values.sizes(), (std::vector<int64_t>{50, 2}));
  for (const int64_t size : {kSize, kSize / 2, kSize / 8})
    EXPECT_LE(distance(rotation_gradient(y, sparse, size), rotation_gradient(y, {dense(sparse, y), {}}, size)), 1e-14);
}

TEST(RotationGradient, OfABlockIsTheSumOverTheDiagonalBlocks) {
  const at::Tensor y = heavy_rows(50, kSize), w = weights_of(50);
  constexpr int64_t kBlock = 8;
  for (const char* name : {"psot", "range"}) {
    const RowGradient gradient = evaluate(find_objective(name), y, w).gradient;
    const at::Tensor whole = rotation_gradient(y, gradient, kSize);
    at::Tensor sum = at::zeros({kBlock, kBlock}, at::kDouble);
    for (int64_t i = 0; i < kSize; i += kBlock) sum += whole.narrow(0, i, kBlock).narrow(1, i, kBlock);
    EXPECT_LE(distance(rotation_gradient(y, gradient, kBlock), sum), 1e-14) << name;
  }
}

// L(x R (1 + B)) changes by the inner product of the gradient and B.
TEST(RotationGradient, IsTheSlopeOfTheLossInTheFrameOfTheRotation) {
  constexpr int64_t kBlock = 8;
  const at::Tensor x = heavy_rows(5, kSize), w = weights_of(5);
  const at::Tensor r = runtime::tensor_of(testing::rotation_of(kBlock));
  const at::Tensor b = at::randn({kBlock, kBlock}, at::kDouble), one = at::eye(kBlock, at::kDouble);
  for (const char* name : {"psot", "range", "whip", "weights"}) {
    const Objective& objective = find_objective(name);
    const auto loss = [&](double t) {
      return evaluate(objective, x.mm(block_diagonal(r.mm(one + b * t), kSize / kBlock)), w).loss;
    };
    const at::Tensor y = x.mm(block_diagonal(r, kSize / kBlock));
    const at::Tensor gradient = rotation_gradient(y, evaluate(objective, y, w).gradient, kBlock);
    const double expected = (loss(1e-6) - loss(-1e-6)) / 2e-6;
    EXPECT_NEAR((gradient * b).sum().item<double>(), expected, 1e-6 * std::abs(expected)) << name;
  }
}

}  // namespace
}  // namespace spinor::learning::objective_test
