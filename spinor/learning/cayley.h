// The one optimizer on the orthogonal group: steps through the Cayley transform.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "spinor/base/view.h"

namespace spinor::learning {

// What a step makes of the skew gradient S.
enum class StepRule {
  adam,  // B = -eta m / (sqrt(v) + 1e-20), m and v the bias-corrected moments of the entries (0.9, 0.99)
  sgd    // M <- momentum M + S, B = -min(eta, 1 / |M|) M, |M| the largest absolute column sum: SpinQuant's cap
};

struct CayleyOptions {
  StepRule rule = StepRule::adam;
  double learning_rate = 0.004;  // for sgd: SpinQuant's is 1.5
  double momentum = 0;           // of sgd
  int64_t steps = 100;           // eta falls from learning_rate to 0 over so many, as a cosine
  bool fixes_ones = false;       // R 1 = 1 stays so, for families that read the stream through LayerNorm
};

// Where an optimizer stands between two steps. Its tensors change with the next one.
struct CayleyState {
  at::Tensor rotation = {}, first = {}, second = {};  // (n, n); no second moments for sgd
  int64_t taken = 0;                                  // steps
};

// R <- R (1 - B/2)^-1 (1 + B/2), which is orthogonal for every skew B. Costs 2.7 n^3 flops a step.
class CayleyOptimizer {
 public:
  // R (n, n), orthogonal, float32 or float64, on any device; if it is to fix the ones, it does.
  CayleyOptimizer(at::Tensor rotation, const CayleyOptions& options);

  const at::Tensor& rotation() const { return state_.rotation; }
  const CayleyState& state() const { return state_; }
  // Goes on from there, on the device that its rotation had.
  void restore(const CayleyState& state);
  // G (n, n), the gradient in the frame of R: rotation_gradient(), or R' dL/dR.
  void step(const at::Tensor& gradient);

 private:
  at::Tensor update(const at::Tensor& skew, double rate);  // B

  CayleyOptions options_;
  CayleyState state_;
};

// R in float64, orthogonal within kOrthogonal and exactly fixing the ones where asked: steps in float32 lose some
// 1e-7 each. Error, about `subject`, if it lost more than steps can.
Matrix<double> finish_rotation(const at::Tensor& rotation, bool fixes_ones, std::string_view subject);

}  // namespace spinor::learning
