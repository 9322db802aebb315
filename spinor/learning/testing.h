// Rows and matrices for the tests of this folder.
#pragma once

#include <ATen/ATen.h>

#include "spinor/base/view.h"
#include "spinor/linalg/orthogonal.h"

namespace spinor::learning::testing {

// Rows of length sqrt(n) with a few large elements at the same places, as a normalized residual stream has them.
inline at::Tensor heavy_rows(int64_t count, int64_t n, uint64_t seed = 1) {
  at::manual_seed(seed);
  at::Tensor x = at::randn({count, n}, at::kDouble) * at::randn({n}, at::kDouble).mul_(1.5).exp_();
  return x / x.square().mean(1, true).sqrt_();
}

inline Matrix<double> rotation_of(int64_t n, uint64_t seed = 3) {
  Random random(seed);
  return random_orthogonal(n, random);
}

inline double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace spinor::learning::testing
