// What is outside of the layers: from tokens to the residual stream, and from there to logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

class Ends {
 public:
  // Resident: weights are held after their first use; else rows of the embedding are computed when they are needed.
  Ends(const ModuleFactory& factory, bool resident) : factory_(factory), resident_(resident) {}

  // tokens (sequences, tokens), the first of them at this position. Error for a position that has not been learned.
  at::Tensor embed(const at::Tensor& tokens, int64_t first);
  // The final norm, if there is one: in place, but for a gradient.
  at::Tensor norm(at::Tensor stream) const;
  at::Tensor logits(const at::Tensor& hidden);

 private:
  at::Tensor rows(const Module& embedding, const at::Tensor& indices, at::Tensor& held);
  void add_positions(at::Tensor x, int64_t first);

  const ModuleFactory& factory_;
  bool resident_;
  at::Tensor embedding_, positions_;
  std::optional<Linear> project_out_, head_;
};

}  // namespace spinor::runtime
