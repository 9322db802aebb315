#include "spinor/runtime/layer_factory.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/model/module_name.h"
#include "spinor/runtime/attention_factory.h"
#include "spinor/runtime/delta_rule_factory.h"
#include "spinor/runtime/mlp_factory.h"

namespace spinor::runtime {
namespace {

// The norm through which a linear reads the stream; null: none.
const Module* norm_before(const Model& model, const Module* linear) {
  for (const NormReads& reads : model.stream().norm_reads)
    if (std::ranges::find(reads.linears, linear) != reads.linears.end()) return reads.norm;
  return nullptr;
}

// The same of the linears of a block. Error where they read through several: a layer runs one.
const Module* norm_before(const Model& model, int64_t layer, const std::vector<std::string>& names) {
  const std::string prefix = model.layer_prefix(layer);
  std::optional<const Module*> norm;
  for (const std::string& name : names) {
    const Module* linear = model.find(prefix + numbered(name, 0));
    if (!linear || linear->kind == ModuleKind::part || linear->shape.in != model.hidden_size()) continue;
    const Module* found = norm_before(model, linear);
    if (norm && *norm != found)
      throw Error(linear->name, "reads the residual stream through another norm than others of its block",
                  "spinor does not run such a layer");
    norm = found;
  }
  return norm.value_or(nullptr);
}

std::vector<std::string> attention_readers(const Architecture& row, bool delta) {
  std::vector<std::string> names = {row.attention.query, row.attention.key, row.attention.value};
  if (row.forward->latent) names.push_back(row.forward->latent->query_in);
  if (!delta) return names;
  names.clear();
  for (const PartRow& piece : row.forward->delta->pieces) names.push_back(piece.linear);
  return names;
}

std::optional<Norm> norm_if(const ModuleFactory& factory, const std::string& prefix,
                            const std::vector<std::string>& names, size_t which) {
  if (which >= names.size()) return std::nullopt;
  return factory.norm(prefix + names[which]);
}

}  // namespace

Layer make_layer(const ModuleFactory& factory, int64_t index) {
  const Model& model = factory.model();
  const Architecture& row = *model.architecture();
  const ForwardConfig& forward = factory.forward();
  const std::string prefix = model.layer_prefix(index);
  const bool delta = has_delta_rule(factory, index);
  const Module* attention_norm = norm_before(model, index, attention_readers(row, delta));
  const Module* mlp_norm = norm_before(model, index, row.mlp_in);
  const std::vector<std::string> sums = forward.norms_sums ? row.forward->norms_of_sums : std::vector<std::string>();
  Layer layer{.index = index,
              .attention_norm = {},
              .mlp_norm = {},
              .attention_output_norm = norm_if(factory, prefix, row.scaled_outputs, 0),
              .mlp_output_norm = norm_if(factory, prefix, row.scaled_outputs, 1),
              .attention_sum_norm = norm_if(factory, prefix, sums, 0),
              .mlp_sum_norm = norm_if(factory, prefix, sums, 1),
              .attention = {},
              .mlp = make_feed_forward(factory, index),
              .parallel = forward.parallel,
              .same_norm = forward.parallel && attention_norm == mlp_norm,
              .multiplier = forward.residual_multiplier,
              .rope = forward.rope_of(index) != nullptr,
              .local = forward.local[static_cast<size_t>(index)]};
  if (delta)
    layer.attention = make_delta_rule(factory, index);
  else
    layer.attention = make_attention(factory, index);
  if (attention_norm) layer.attention_norm = factory.norm(attention_norm->name);
  if (mlp_norm && !layer.same_norm) layer.mlp_norm = factory.norm(mlp_norm->name);
  return layer;
}

}  // namespace spinor::runtime
