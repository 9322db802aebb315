#include "spinor/runtime/linear.h"

#include <ATen/ATen.h>

namespace spinor {

at::Tensor Norm::operator()(const at::Tensor& x) const {
  const bool narrow = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  const at::Tensor wide = narrow ? x.to(at::kFloat) : x;
  const at::Tensor inverse = wide.square().mean(-1, /*keepdim=*/true).add_(epsilon).rsqrt_();
  return (wide * inverse).to(x.scalar_type()).mul_(weight);
}

const at::Tensor& LinearInput::after(const Stage& stage) {
  if (stage.empty()) return x_;
  if (last_ && last_->same_as(stage)) return staged_;
  staged_ = owned_ ? x_ : x_.clone(at::MemoryFormat::Contiguous);
  last_ = &stage;
  apply(stage, staged_);
  return staged_;
}

at::Tensor Linear::operator()(LinearInput& x) const {
  at::Tensor y = at::linear(x.after(input), weight, bias);
  if (!output.empty()) apply(output, y = y.contiguous());
  return y;
}

}  // namespace spinor
