#include "spinor/runtime/layer.h"

#include <ATen/ATen.h>

#include "spinor/runtime/weights.h"

namespace spinor::runtime {
namespace {

at::Tensor through(const std::optional<Norm>& norm, const at::Tensor& x) {
  return norm ? (*norm)(x) : x;
}

// In place, unless a gradient needs x as it was.
at::Tensor sum(at::Tensor x, const at::Tensor& more, double multiplier, const std::optional<Norm>& norm) {
  if (x.requires_grad() || more.requires_grad()) return through(norm, at::add(x, more, multiplier));
  x.add_(more, multiplier);
  if (norm) x.copy_((*norm)(x));
  return x;
}

}  // namespace

RopeTables rope_tables(const ForwardConfig& forward, int64_t first, int64_t count, const RuntimeOptions& options) {
  const auto tensors = at::TensorOptions(torch_dtype(options.dtype)).device(at::Device(options.device));
  RopeTables tables;
  if (forward.rope) tables.all = rope_table(*forward.rope, first, count, tensors);
  if (forward.local_rope) tables.local = rope_table(*forward.local_rope, first, count, tensors);
  return tables;
}

at::Tensor Layer::operator()(at::Tensor x, const RopeTables& tables, KeyValueCache* cache) const {
  const std::optional<RopeTable>& table = local && tables.local ? tables.local : tables.all;
  const at::Tensor read = through(attention_norm, x);
  at::Tensor added = std::visit(
      [&](const auto& kind) { return kind(read, rope && table ? &*table : nullptr, index, cache); }, attention);
  added = through(attention_output_norm, added);
  if (parallel) return sum(x, added.add_(mlp(same_norm ? read : through(mlp_norm, x))), multiplier, {});
  x = sum(x, added, multiplier, attention_sum_norm);
  return sum(x, through(mlp_output_norm, mlp(through(mlp_norm, x))), multiplier, mlp_sum_norm);
}

}  // namespace spinor::runtime
