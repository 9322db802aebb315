#include "spinor/runtime/layer_factory.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "spinor/model/module_name.h"

namespace spinor::runtime {
namespace {

// The norm through which a linear reads the stream; null: none.
const Module* norm_before(const Model& model, const Module* linear) {
  for (const NormReads& reads : model.stream().norm_reads)
    if (std::ranges::find(reads.linears, linear) != reads.linears.end()) return reads.norm;
  return nullptr;
}

// A linear of the layer that reads the stream for its MLP.
const Module* mlp_reader(const Model& model, int64_t index) {
  const std::string prefix = model.layer_prefix(index);
  for (const std::string& name : model.architecture()->mlp_in)
    if (const Module* found = model.find(prefix + numbered(name, 0))) return found;
  return nullptr;
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
  const std::string& reader = delta ? row.forward->delta->pieces.front().linear : row.attention.key;
  const Module* attention_norm = norm_before(model, model.find(prefix + reader));
  const Module* mlp_norm = norm_before(model, mlp_reader(model, index));
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
