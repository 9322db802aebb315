#include "spinor/runtime/norm.h"

#include <ATen/ATen.h>

namespace spinor::runtime {

at::Tensor widened(const at::Tensor& x) {
  const bool narrow = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  return narrow ? x.to(at::kFloat) : x;
}

at::Tensor Norm::operator()(const at::Tensor& x) const {
  const at::Tensor wide = widened(x);
  if (layer_norm) {
    at::Tensor y = at::layer_norm(wide, {x.size(-1)}, {}, {}, epsilon);
    if (weight.defined()) y.mul_(weight);
    if (bias.defined()) y.add_(bias);
    return y.to(x.scalar_type());
  }
  at::Tensor y = wide * wide.square().mean(-1, /*keepdim=*/true).add_(epsilon).rsqrt_();
  if (!weight.defined()) return y.to(x.scalar_type());
  // A weight that is wider than x multiplies before the rounding.
  if (weight.scalar_type() == wide.scalar_type()) return y.mul_(weight).to(x.scalar_type());
  return y.to(x.scalar_type()).mul_(weight);
}

}  // namespace spinor::runtime
