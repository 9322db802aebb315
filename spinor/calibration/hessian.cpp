#include "spinor/calibration/hessian.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "spinor/calibration/cholesky.h"
#include "spinor/calibration/on_each.h"

namespace spinor::calibration {
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

// Rows and columns of a symmetric matrix in another order, from its upper part. A panel of rows at a time.
at::Tensor reordered(const at::Tensor& upper, const at::Tensor& order, int threads) {
  at::Tensor result = at::empty_like(upper);
  on_each((upper.size(0) + kPanel - 1) / kPanel, threads, [&](int64_t panel) {
    const int64_t first = panel * kPanel;
    const at::Tensor rows = order.narrow(0, first, std::min(kPanel, upper.size(0) - first));
    const at::Tensor right = upper.index_select(0, rows).index_select(1, order);
    const at::Tensor left = upper.index_select(1, rows).t().index_select(1, order);
    result.narrow(0, first, rows.size(0)).copy_(at::where(rows.unsqueeze(1) <= order.unsqueeze(0), right, left));
  });
  return result;
}

at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).to(at::kFloat);
}

}  // namespace

std::vector<HessianPiece> hessian_pieces(int64_t size, HessianPart part) {
  if (part == HessianPart::diagonal) return {{.cols = size}};
  std::vector<HessianPiece> pieces;
  for (int64_t first = 0; first < size; first += kPanel) {
    const int64_t cols = std::min(kPanel, size - first);
    pieces.push_back({.first = first, .cols = cols, .rows = first + cols});
  }
  return pieces;
}

int64_t hessian_values(int64_t size, HessianPart part) {
  int64_t values = 0;
  for (const HessianPiece& piece : hessian_pieces(size, part)) values += piece.values();
  return values;
}

at::Tensor sum_products(const HessianPiece& piece, std::span<const at::Tensor> inputs) {
  const auto shape = piece.rows > 0 ? std::vector{piece.rows, piece.cols} : std::vector{piece.cols};
  at::Tensor sum = at::zeros(shape, at::TensorOptions(at::kFloat).device(inputs.front().device()));
  for (const at::Tensor& x : inputs) {
    const at::Tensor rows = rows_of(x);
    if (piece.rows > 0)
      sum.addmm_(rows.narrow(1, 0, piece.rows).t(), rows.narrow(1, piece.first, piece.cols));
    else
      sum.add_(rows.square().sum(0));
  }
  return sum;
}

Hessian::Hessian(int64_t size, const at::Device& device, HessianPart part)
    : part_(part),
      sum_(at::zeros(part == HessianPart::whole ? std::vector{size, size} : std::vector{size},
                     at::TensorOptions(at::kFloat).device(device))) {}

void Hessian::add(const HessianPiece& piece, const at::Tensor& products) {
  if (piece.rows == 0)
    sum_.add_(products);
  else
    sum_.narrow(0, 0, piece.rows).narrow(1, piece.first, piece.cols).add_(products);
}

void Hessian::count(int64_t inputs, int64_t tokens) {
  added_ += inputs;
  tokens_ += tokens;
}

bool Hessian::finite() const {
  return at::isfinite(diagonal().sum()).item<bool>();
}

at::Tensor Hessian::matrix() const {
  return matrix(at::arange(sum_.size(0), at::TensorOptions(at::kLong).device(sum_.device())), 1);
}

at::Tensor Hessian::matrix(const at::Tensor& order, int threads) const {
  return reordered(sum_, order, threads).mul_(scale());
}

at::Tensor Hessian::diagonal() const {
  return (part_ == HessianPart::whole ? sum_.diagonal() : sum_) * scale();
}

double Hessian::scale() const {
  return 2.0 / static_cast<double>(std::max<int64_t>(1, added_));
}

std::optional<HessianFactor> factor(const Hessian& hessian, double dampening_frac, bool by_activity, int threads) {
  HessianFactor result;
  const at::Tensor diagonal = hessian.diagonal().to(at::kCPU).contiguous();
  result.order = order_of(diagonal, by_activity);
  at::Tensor filled = diagonal.clone();
  for (int64_t i = 0; i < diagonal.size(0); ++i)
    if (diagonal[i].item<float>() == 0) {
      result.dead.push_back(i);
      filled[i] = 1;
    }
  const at::Tensor order = at::tensor(result.order, at::kLong);
  const double mean = filled.mean().item<double>();
  for (int attempt = 0; attempt < kTries; ++attempt) {
    result.dampening_frac = attempt == 0 ? dampening_frac : 10 * std::max(result.dampening_frac, 1e-3);
    result.damping = result.dampening_frac * mean;
    result.lower = hessian.matrix(order.to(hessian.device()), threads).to(at::kCPU);
    result.lower.diagonal().copy_(filled.index_select(0, order) + result.damping);
    if (factor_in_place(result.lower, threads)) return result;
  }
  return std::nullopt;
}

}  // namespace spinor::calibration
