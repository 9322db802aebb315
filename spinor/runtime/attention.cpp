#include "spinor/runtime/attention.h"

#include <ATen/ATen.h>

#include <tuple>

namespace spinor::runtime {
namespace {

Heads project(const SeparateProjections& linears, LinearInput& x) {
  return {linears.query(x), linears.key(x), linears.value(x), {}};
}

at::Tensor columns(const at::Tensor& y, const Slice& slice) {
  const at::Tensor runs = y.reshape({y.size(0), y.size(1), -1, slice.period});
  return runs.narrow(-1, slice.begin, slice.size).reshape({y.size(0), y.size(1), -1});
}

Heads project(const FusedProjection& fused, LinearInput& x) {
  const at::Tensor y = fused.all(x);
  return {columns(y, fused.query), columns(y, fused.key), columns(y, fused.value), {}};
}

at::Tensor split_heads(const at::Tensor& x, int64_t size) {
  return x.reshape({x.size(0), x.size(1), -1, size}).contiguous();
}

// A norm of the size of all heads sees them side by side.
at::Tensor normed_heads(const at::Tensor& x, const std::optional<Norm>& norm, int64_t size) {
  if (!norm) return split_heads(x, size);
  const bool whole = norm->weight.defined() && norm->weight.dim() == 1 && norm->weight.size(0) != size;
  return whole ? split_heads((*norm)(x), size) : (*norm)(split_heads(x, size)).contiguous();
}

}  // namespace

Heads DirectHeads::make(LinearInput& x, const RopeTable* rope) const {
  Heads made = std::visit([&](const auto& linears) { return project(linears, x); }, projections);
  if (gated) {
    made.gate = columns(made.query, {size, size, 2 * size});
    made.query = columns(made.query, {0, size, 2 * size});
  }
  made = {normed_heads(made.query, query_norm, size), normed_heads(made.key, key_norm, size),
          split_heads(made.value, size), made.gate};
  if (clip)
    for (at::Tensor* each : {&made.query, &made.key, &made.value}) *each = each->clamp(-*clip, *clip);
  if (!rope) return made;
  apply_rope(made.query, *rope);
  apply_rope(made.key, *rope);
  return made;
}

Heads LatentHeads::make(LinearInput& x, const RopeTable* rope) const {
  at::Tensor query;
  if (query_in) {
    const at::Tensor inner = (*query_in)(x);
    LinearInput normed(query_norm ? (*query_norm)(inner) : inner, true);
    query = query_out(normed);
  } else {
    query = query_out(x);
  }
  const at::Tensor shared = latent(x);
  const int64_t rank = shared.size(-1) - turning;
  Heads made{split_heads(query, fixed + turning),
             latent_norm(shared.narrow(-1, 0, rank)).unsqueeze(2).contiguous(),
             shared.narrow(-1, rank, turning).unsqueeze(2).contiguous(),
             {}};
  if (!rope) return made;
  apply_rope(made.query, *rope, fixed);
  apply_rope(made.value, *rope);
  return made;
}

void LatentHeads::expand(Heads& heads) const {
  LinearInput latents(heads.key.squeeze(2));
  const at::Tensor all = split_heads(expansion(latents), fixed + value);
  const at::Tensor turned = heads.value.expand({-1, -1, all.size(2), -1});
  heads.key = at::cat({all.narrow(-1, 0, fixed), turned}, -1);
  heads.value = all.narrow(-1, fixed, value);
}

at::Tensor Attention::operator()(const at::Tensor& x, const RopeTable* rope, int64_t layer,
                                 KeyValueCache* cache) const {
  LinearInput input(x);
  Heads made = std::visit([&](const auto& kind) { return kind.make(input, rope); }, heads);
  made.query = through(queries, made.query);
  made.key = through(keys, made.key);
  made.value = through(values, made.value);
  if (watcher) watcher->cache(name, made.key, made.value);
  if (cache) std::tie(made.key, made.value) = cache->append(layer, made.key, made.value);
  if (const auto* latent = std::get_if<LatentHeads>(&heads)) latent->expand(made);
  at::Tensor mixed = attend(made.query, made.key, made.value, scoring);
  if (made.gate.defined()) mixed = mixed * made.gate.sigmoid();  // attention may still need what it gave
  LinearInput read(mixed, true);
  return output(read);
}

}  // namespace spinor::runtime
