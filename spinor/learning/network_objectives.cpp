#include "spinor/learning/network_objectives.h"

#include <ATen/ATen.h>

namespace spinor::learning {

at::Tensor divergence_of_logits(const at::Tensor& logits, const at::Tensor& reference, const at::Tensor&) {
  const at::Tensor expected = reference.log_softmax(-1);
  return (expected.exp() * (expected - logits.log_softmax(-1))).sum();
}

at::Tensor cross_entropy_of_logits(const at::Tensor& logits, const at::Tensor&, const at::Tensor& next) {
  return logits.log_softmax(-1).gather(1, next.unsqueeze(1)).sum().neg();
}

}  // namespace spinor::learning
