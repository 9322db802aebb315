#include "spinor/runtime/attention_factory.h"

#include <ATen/ATen.h>

#include "spinor/model/forward_modules.h"
#include "spinor/model/module_name.h"

namespace spinor::runtime {
namespace {

std::variant<SeparateProjections, FusedProjection> projections(const ModuleFactory& factory,
                                                               const std::string& prefix) {
  const AttentionRow& row = factory.model().architecture()->attention;
  const Module& value = factory.module(prefix + row.value);
  if (value.kind == ModuleKind::part) {
    const ProjectionRows rows = projection_rows(*value.part);
    return FusedProjection{factory.linear(prefix + row.query), rows.query, rows.key, rows.value};
  }
  return SeparateProjections{factory.linear(prefix + row.query), factory.linear(prefix + row.key),
                             factory.linear(prefix + row.value)};
}

// LayerNorms of heads that are parameters: one, or one for each head.
std::optional<Norm> norm_of_parameters(const ModuleFactory& factory, const std::string& name) {
  if (name.empty()) return std::nullopt;
  const bool of_each = numbered(name, 0) != name;
  std::vector<at::Tensor> weights;
  for (const std::string& one : counted(name, factory.model().num_heads()))
    if (factory.has(one)) weights.push_back(factory.weights().compute(one));
  if (weights.empty()) return std::nullopt;
  const at::Tensor weight = of_each ? at::stack(weights) : weights[0];
  return Norm{weight, {}, factory.forward().norm_epsilon, true};
}

std::optional<Norm> norm_of_heads(const ModuleFactory& factory, const std::string& prefix, const std::string& name,
                                  const std::string& parameters) {
  if (!name.empty() && factory.has(prefix + name)) return factory.norm(prefix + name);
  return norm_of_parameters(factory, parameters.empty() ? "" : prefix + parameters);
}

// Twice as many rows of the query as heads need.
bool has_gate(const ModuleFactory& factory, const std::string& prefix) {
  const Model& model = factory.model();
  const AttentionRow& row = model.architecture()->attention;
  return row.query != row.key &&
         factory.module(prefix + row.query).shape.out == 2 * model.num_heads() * model.head_dim();
}

DirectHeads direct_heads(const ModuleFactory& factory, const std::string& prefix) {
  const Architecture& row = *factory.model().architecture();
  return {projections(factory, prefix),
          factory.model().head_dim(),
          norm_of_heads(factory, prefix, row.attention.query_norm, row.forward->query_norms),
          norm_of_heads(factory, prefix, row.attention.key_norm, row.forward->key_norms),
          factory.forward().clip,
          has_gate(factory, prefix)};
}

LatentHeads latent_heads(const ModuleFactory& factory, const std::string& prefix) {
  const Architecture& row = *factory.model().architecture();
  const LatentRow& names = *row.forward->latent;
  const LatentConfig& sizes = *factory.forward().latent;
  const bool two = factory.has(prefix + names.query_in);
  const std::string query = prefix + (two ? names.query_out : row.attention.query);
  LatentHeads heads{.query_in = {},
                    .query_norm = {},
                    .query_out = factory.linear(query),
                    .latent = factory.linear(prefix + names.latent),
                    .expansion = factory.linear(prefix + names.expand),
                    .latent_norm = factory.norm(prefix + names.latent_norm, names.norm_epsilon),
                    .fixed = sizes.fixed,
                    .turning = sizes.turning,
                    .value = sizes.value};
  if (!two) return heads;
  heads.query_in = factory.linear(prefix + names.query_in);
  heads.query_norm = factory.norm(prefix + names.query_norm, names.norm_epsilon);
  return heads;
}

Scoring scoring(const ModuleFactory& factory, int64_t index) {
  const ForwardConfig& forward = factory.forward();
  const std::string& sinks = factory.model().architecture()->forward->sinks;
  Scoring result{.scale = forward.attention_scale,
                 .window = forward.window[static_cast<size_t>(index)],
                 .cap = forward.attention_cap,
                 .sinks = {},
                 .alibi = forward.alibi};
  if (!sinks.empty()) result.sinks = factory.weights().compute(factory.model().layer_prefix(index) + sinks);
  return result;
}

}  // namespace

Attention make_attention(const ModuleFactory& factory, int64_t index) {
  const AttentionRow& row = factory.model().architecture()->attention;
  const std::string prefix = factory.model().layer_prefix(index), name = prefix + std::string(parent_of(row.query));
  std::variant<DirectHeads, LatentHeads> heads;
  if (factory.forward().latent)
    heads = latent_heads(factory, prefix);
  else
    heads = direct_heads(factory, prefix);
  Stage keys{factory.rotations(name, TransformLocation::k_cache), factory.schemes().keys(name)};
  Stage values{{}, factory.schemes().values(name)};
  if (Surrogates* surrogates = factory.surrogates()) {
    if (keys.quantizer) keys.surrogate = surrogates->keys(name);
    if (values.quantizer) values.surrogate = surrogates->values(name);
  }
  return {.heads = std::move(heads),
          .queries = {factory.rotations(name, TransformLocation::q_attn), {}},
          .keys = std::move(keys),
          .values = std::move(values),
          .scoring = scoring(factory, index),
          .output = factory.linear(prefix + row.output),
          .name = name,
          .watcher = factory.watcher()};
}

}  // namespace spinor::runtime
