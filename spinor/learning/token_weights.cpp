#include "spinor/learning/token_weights.h"

#include <ATen/ATen.h>

namespace spinor::learning {
namespace {

constexpr double kFirstToken = 64;

}  // namespace

at::Tensor token_weights(const at::Tensor& rows, int64_t context) {
  at::Tensor weights = rows.square().mean(1).clamp_min_(1e-30).reciprocal_();
  if (rows.size(0) == context) weights[0].mul_(kFirstToken);
  return weights;
}

}  // namespace spinor::learning
