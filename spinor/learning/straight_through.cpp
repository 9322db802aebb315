#include "spinor/learning/straight_through.h"

#include <ATen/ATen.h>

#include "spinor/learning/quantization.h"
#include "spinor/runtime/stage.h"

namespace spinor::learning {
namespace {

at::Tensor ranges(const at::Tensor& groups, bool symmetric) {
  if (symmetric) return groups.abs().amax(-1, true);
  return groups.amax(-1, true).clamp_min(0) - groups.amin(-1, true).clamp_max(0);
}

}  // namespace

at::Tensor straight_through(const at::Tensor& x, const ActivationQuantizer& quantizer, const QuantizationArgs& args) {
  at::Tensor quantized = x.detach().clone(at::MemoryFormat::Contiguous);
  runtime::apply({{}, quantizer}, quantized);
  if (!x.requires_grad()) return quantized;
  const std::vector<int64_t> shape = {-1, group_size(args, x.size(-1))};
  const at::Tensor groups = x.reshape(shape), r = ranges(groups, args.symmetric), width = r.detach();
  const at::Tensor error = quantized.reshape(shape).sub_(groups.detach()).div_(width).masked_fill_(width == 0, 0);
  return (groups + error * r).reshape(x.sizes());
}

}  // namespace spinor::learning
