// What is outside of the layers: from tokens to the residual stream, and from there to logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

// What the head's weight multiplies, (..., in), to logits (..., some of the vocabulary).
using Logits = std::function<at::Tensor(const at::Tensor& read)>;

class Ends {
 public:
  // Resident: weights are held after their first use; else rows of the embedding are computed when they are needed.
  Ends(const ModuleFactory& factory, bool resident) : factory_(factory), resident_(resident) {}

  // tokens (sequences, tokens), the first of them at this position. Error for a position that has not been learned.
  at::Tensor embed(const at::Tensor& tokens, int64_t first);
  // The final norm, if there is one: in place, but for a gradient.
  at::Tensor norm(at::Tensor stream) const;
  at::Tensor logits(const at::Tensor& hidden);
  // The same in parts of the vocabulary, so that a head that is not resident is never there as a whole: head_rows() of
  // head_input(). Such parts, or a multiple, are best; the whole where it does not come in parts.
  int64_t head_part() const;
  at::Tensor head_input(const at::Tensor& hidden);
  Logits head_rows(int64_t first, int64_t count);

 private:
  std::string head_weight() const;
  bool has_head_in_parts() const;
  const Linear& head();
  at::Tensor project_out(const at::Tensor& hidden);
  at::Tensor finish(at::Tensor logits) const;
  at::Tensor rows(const Module& embedding, const at::Tensor& indices, at::Tensor& held);
  void add_positions(at::Tensor x, int64_t first);

  const ModuleFactory& factory_;
  bool resident_;
  at::Tensor embedding_, positions_;
  std::optional<Linear> project_out_, head_;
};

}  // namespace spinor::runtime
