#include "spinor/learning/drawn_rows.h"

#include <ATen/ATen.h>

#include <vector>

#include "spinor/base/error.h"

namespace spinor::learning {

at::Tensor drawn_rows(int64_t count, int64_t kept, Random& random) {
  std::vector<int64_t> rows = {0};
  for (const int64_t row : random.permutation(count - 1))
    if (std::ssize(rows) < kept) rows.push_back(row + 1);
  return at::tensor(rows, at::kLong);
}

at::Tensor drawn_weights(int64_t count, int64_t kept, double first) {
  const double others = kept > 1 ? static_cast<double>(count - 1) / static_cast<double>(kept - 1) : 1;
  at::Tensor weights = at::full({kept}, others, at::kFloat);
  weights[0] = first;
  return weights;
}

void check_finite(const at::Tensor& rows, const runtime::Linear& linear) {
  if (at::isfinite(rows).all().item<bool>()) return;
  throw Error(linear.name, "reads values that are not finite: there is nothing to learn from",
              "look for the layer that makes them: spinor eval, spinor inspect");
}

}  // namespace spinor::learning
