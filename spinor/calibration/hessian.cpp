#include "spinor/calibration/hessian.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace spinor {
namespace {

constexpr int64_t kPanel = 512;
constexpr int kTries = 4;

std::vector<int64_t> order_of(const at::Tensor& diagonal, bool by_activity) {
  std::vector<int64_t> order(static_cast<size_t>(diagonal.size(0)));
  std::iota(order.rbegin(), order.rend(), 0);
  if (!by_activity) return order;
  const float* of = diagonal.const_data_ptr<float>();
  std::ranges::stable_sort(order, [of](int64_t a, int64_t b) { return of[a] < of[b]; });
  return order;
}

// Rows and columns in another order, a panel of rows at a time.
at::Tensor reordered(const at::Tensor& matrix, const at::Tensor& order) {
  at::Tensor result = at::empty_like(matrix);
  for (int64_t first = 0; first < matrix.size(0); first += kPanel) {
    const int64_t rows = std::min(kPanel, matrix.size(0) - first);
    result.narrow(0, first, rows).copy_(matrix.index_select(0, order.narrow(0, first, rows)).index_select(1, order));
  }
  return result;
}

}  // namespace

Hessian::Hessian(int64_t size, const at::Device& device)
    : sum_(at::zeros({size, size}, at::TensorOptions(at::kFloat).device(device))) {}

// Panels of columns, each down to the diagonal.
void Hessian::add(const at::Tensor& x) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(at::kFloat);
  const int64_t size = rows.size(1);
  for (int64_t first = 0; first < size; first += kPanel) {
    const int64_t cols = std::min(kPanel, size - first), end = first + cols;
    at::Tensor panel = sum_.narrow(0, 0, end).narrow(1, first, cols);
    panel.addmm_(rows.narrow(1, 0, end).t(), rows.narrow(1, first, cols));
  }
  tokens_ += rows.size(0);
  ++added_;
}

bool Hessian::finite() const {
  return at::isfinite(sum_.diagonal().sum()).item<bool>();
}

at::Tensor Hessian::matrix() const {
  const at::Tensor upper = sum_.triu(1);
  at::Tensor whole = upper + upper.t();
  whole.diagonal().add_(sum_.diagonal());
  return whole.mul_(2.0 / static_cast<double>(std::max<int64_t>(1, added_)));
}

std::optional<HessianFactor> factor(const Hessian& hessian, double dampening_frac, bool by_activity) {
  at::Tensor matrix = hessian.matrix().to(at::kCPU);
  HessianFactor result;
  const at::Tensor diagonal = matrix.diagonal().contiguous();
  result.order = order_of(diagonal, by_activity);
  at::Tensor filled = diagonal.clone();
  for (int64_t i = 0; i < diagonal.size(0); ++i)
    if (diagonal[i].item<float>() == 0) {
      result.dead.push_back(i);
      filled[i] = 1;
    }
  const at::Tensor order = at::tensor(result.order, at::kLong);
  matrix = reordered(matrix, order);
  const double mean = filled.mean().item<double>();
  for (int attempt = 0; attempt < kTries; ++attempt) {
    result.dampening_frac = attempt == 0 ? dampening_frac : 10 * std::max(result.dampening_frac, 1e-3);
    result.damping = result.dampening_frac * mean;
    matrix.diagonal().copy_(filled.index_select(0, order) + result.damping);
    auto [lower, failed] = at::linalg_cholesky_ex(matrix);
    if (failed.item<int>() == 0 && at::isfinite(lower.diagonal().sum()).item<bool>()) {
      result.lower = lower.contiguous();
      return result;
    }
  }
  return std::nullopt;
}

}  // namespace spinor
