#include "spinor/learning/cayley.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/linalg/nearest_orthogonal.h"
#include "spinor/runtime/matrices.h"

namespace spinor::learning {
namespace {

constexpr double kFirstMoment = 0.9, kSecondMoment = 0.99;
constexpr double kEpsilon = 1e-20;  // below the gradient of fourth powers of small weights
constexpr double kDrift = 0x1p-10;  // 10^4 steps lose less

at::Tensor skew_part(const at::Tensor& m) {
  return (m - m.t()).mul_(0.5).contiguous();
}

// P B P, P = 1 - 1 1'/n: the rows and columns of a skew B add up to 0, and stay each other's negative.
at::Tensor without_ones(const at::Tensor& skew) {
  const at::Tensor mean = skew.mean(1, true);
  return skew - (mean - mean.t());
}

}  // namespace

CayleyOptimizer::CayleyOptimizer(at::Tensor rotation, const CayleyOptions& options)
    : options_(options), state_{.rotation = std::move(rotation)} {
  state_.first = at::zeros_like(state_.rotation);
  if (options_.rule == StepRule::adam) state_.second = at::zeros_like(state_.rotation);
}

void CayleyOptimizer::restore(const CayleyState& state) {
  const auto place = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.to(state_.rotation.options(), /*non_blocking=*/false, /*copy=*/true) : tensor;
  };
  state_ = {place(state.rotation), place(state.first), place(state.second), state.taken};
}

at::Tensor CayleyOptimizer::update(const at::Tensor& skew, double rate) {
  if (options_.rule == StepRule::sgd) {
    state_.first.mul_(options_.momentum).add_(skew);
    const double largest = state_.first.abs().sum(0).max().item<double>();
    return state_.first * -std::min(rate, 1 / largest);
  }
  state_.first.mul_(kFirstMoment).add_(skew, 1 - kFirstMoment);
  state_.second.mul_(kSecondMoment).addcmul_(skew, skew, 1 - kSecondMoment);
  const auto t = static_cast<double>(state_.taken + 1);
  const double first = 1 - std::pow(kFirstMoment, t), second = 1 - std::pow(kSecondMoment, t);
  return (state_.first * (-rate / first)).div_((state_.second / second).sqrt_().add_(kEpsilon));
}

void CayleyOptimizer::step(const at::Tensor& gradient) {
  const double part = static_cast<double>(std::min(state_.taken, options_.steps)) / static_cast<double>(options_.steps);
  const double rate = options_.learning_rate * (1 + std::cos(std::numbers::pi * part)) / 2;
  at::Tensor b = skew_part(update(skew_part(gradient), rate));
  if (options_.fixes_ones) b = without_ones(b);
  ++state_.taken;
  // (1 - B/2)^-1 (1 + B/2) = 2 (1 - B/2)^-1 - 1: one solve, and no product.
  at::Tensor denominator = b.mul_(-0.5);
  denominator.diagonal().add_(1);
  state_.rotation = at::linalg_solve(denominator, state_.rotation, /*left=*/false).mul_(2).sub_(state_.rotation);
}

Matrix<double> finish_rotation(const at::Tensor& rotation, bool fixes_ones, std::string_view subject) {
  Matrix<double> m = runtime::matrix_of(rotation);
  const double error = make_orthogonal(m, kDrift);
  if (!(error <= kDrift))
    throw Error(std::string(subject), fmt::format("is no longer orthogonal: an entry of R R^T is off by {:.2g}", error),
                "learn with fewer steps");
  if (fixes_ones) restore_ones(m);
  return m;
}

}  // namespace spinor::learning
