#include "spinor/learning/cayley.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/learning/testing.h"
#include "spinor/linalg/fixing_ones.h"
#include "spinor/linalg/nearest_orthogonal.h"
#include "spinor/runtime/matrices.h"

namespace spinor::learning::cayley_test {
namespace {

constexpr int64_t kSize = 48;
constexpr int64_t kSteps = 20;

double orthogonality(const at::Tensor& r) {
  return (r.mm(r.t()) - at::eye(r.size(0), r.options())).abs().max().item<double>();
}

at::Tensor some_gradient(at::ScalarType dtype) {
  return at::randn({kSize, kSize}, dtype);
}

TEST(Cayley, KeepsOrthogonality) {
  for (const StepRule rule : {StepRule::adam, StepRule::sgd}) {
    for (const auto& [dtype, u] : {std::pair(at::kDouble, 0x1p-53), std::pair(at::kFloat, 0x1p-24)}) {
      at::manual_seed(1);
      const at::Tensor start = runtime::tensor_of(testing::rotation_of(kSize)).to(dtype);
      CayleyOptimizer optimizer(start, {.rule = rule, .learning_rate = 0.1, .momentum = 0.5, .steps = kSteps});
      for (int64_t i = 0; i < kSteps; ++i) optimizer.step(some_gradient(dtype));
      // A solve loses n u at most, |1 - B/2| being its condition, which is below 3 here; steps add up.
      EXPECT_LE(orthogonality(optimizer.rotation()), 3 * kSize * u * kSteps);
      EXPECT_GT(testing::distance(optimizer.rotation(), start), 0.1);
    }
  }
}

TEST(Cayley, KeepsTheOnesFixed) {
  at::manual_seed(2);
  Random random(4);
  const at::Tensor start = runtime::tensor_of(random_orthogonal_fixing_ones(kSize, random));
  for (const StepRule rule : {StepRule::adam, StepRule::sgd}) {
    CayleyOptimizer fixed(start, {.rule = rule, .learning_rate = 0.1, .steps = kSteps, .fixes_ones = true});
    CayleyOptimizer free(start, {.rule = rule, .learning_rate = 0.1, .steps = kSteps});
    for (int64_t i = 0; i < kSteps; ++i) {
      const at::Tensor gradient = some_gradient(at::kDouble);
      fixed.step(gradient);
      free.step(gradient);
    }
    const auto off = [](const at::Tensor& r) { return (r.sum(1) - 1).abs().max().item<double>(); };
    EXPECT_LE(off(fixed.rotation()), 3 * kSize * kSteps * 0x1p-53);  // as orthogonality is kept
    EXPECT_GT(off(free.rotation()), 0.01);
    EXPECT_GT(testing::distance(fixed.rotation(), start), 0.1);
  }
}

// The gradient of -tr(R' T): the nearest rotation to T is T.
TEST(Cayley, ComesToARotationThatMinimises) {
  const at::Tensor start = at::eye(kSize, at::kDouble);
  at::Tensor turn = at::randn({kSize, kSize}, at::kDouble) * 0.05;
  const at::Tensor target = at::linalg_matrix_exp(turn - turn.t());
  for (const auto& [rule, rate] : {std::pair(StepRule::adam, 0.05), std::pair(StepRule::sgd, 0.5)}) {
    CayleyOptimizer optimizer(start, {.rule = rule, .learning_rate = rate, .steps = 200});
    for (int64_t i = 0; i < 200; ++i) optimizer.step(optimizer.rotation().t().mm(target).neg());
    EXPECT_LE(testing::distance(optimizer.rotation(), target), 1e-3);
  }
}

TEST(FinishRotation, IsOrthogonalInFloat64AndFixesTheOnes) {
  Random random(4);
  const at::Tensor r = runtime::tensor_of(random_orthogonal_fixing_ones(kSize, random)).to(at::kFloat);
  const Matrix<double> finished = finish_rotation(r, true, "R1");
  EXPECT_LE(orthogonality(runtime::tensor_of(finished)), kOrthogonal);
  EXPECT_LE(ones_error(finished), kOrthogonal);
  EXPECT_THROW(finish_rotation(r * 1.01, false, "R1"), Error);
}

}  // namespace
}  // namespace spinor::learning::cayley_test
