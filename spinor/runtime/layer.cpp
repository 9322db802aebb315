#include "spinor/runtime/layer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "spinor/base/error.h"

namespace spinor {
namespace {

const std::string& reader_norm(const Architecture& row, const std::string& linear) {
  const auto found = std::ranges::find_if(
      row.norms, [&](const NormRow& norm) { return std::ranges::find(norm.reads, linear) != norm.reads.end(); });
  return found->name;  // every row has one
}

void check_locations(const RewritePlan& plan) {
  for (const OnlineTransform& online : plan.online()) {
    const Module* module = plan.model().find(online.module);
    const bool heads = online.location == "q_attn" || online.location == "k_cache";
    const bool linear = module && module->kind == ModuleKind::linear;
    const bool embedding = module && module->kind == ModuleKind::embedding && online.location == "output";
    if (heads || linear || embedding) continue;
    throw Error(online.module, "spinor cannot run a transform at its " + online.location,
                "it runs input and output of linears, output of embeddings, q_attn and k_cache");
  }
}

}  // namespace

LayerFactory::LayerFactory(RewritePlan plan, const RuntimeOptions& options)
    : weights_(std::move(plan), options),
      forward_(read_forward_config(weights_.plan().model())),
      schemes_(weights_.plan(), options) {
  check_locations(weights_.plan());
}

// In the order of the groups: on an input, a later group's transform acts first; on an output last.
std::vector<Rotation> LayerFactory::rotations(const std::string& module, std::string_view location) const {
  std::vector<Rotation> result;
  for (const OnlineTransform& online : weights_.plan().online())
    if (online.module == module && online.location == location) result.push_back(online.r);
  if (location == "input") std::ranges::reverse(result);
  return result;
}

Norm LayerFactory::norm(const std::string& name) const {
  return {weights_.compute(name + ".weight"), forward_.norm_epsilon};
}

Linear LayerFactory::linear(const std::string& name, at::Tensor weight) const {
  const Module& module = *weights_.plan().model().find(name);
  if (!weight.defined()) weight = weights_.compute(name + ".weight");
  return {std::move(weight),
          weights_.compute(name + ".bias"),
          {rotations(name, "input"), schemes_.input(module)},
          {rotations(name, "output"), schemes_.output(module)}};
}

Layer LayerFactory::layer(int64_t index) const {
  const Architecture& row = *weights_.plan().model().architecture();
  const AttentionRow& heads = row.attention;
  const std::string prefix = weights_.plan().model().layer_prefix(index);
  const std::string attention = prefix + heads.query.substr(0, heads.query.rfind('.'));
  Layer layer{.attention_norm = norm(prefix + reader_norm(row, heads.query)),
              .mlp_norm = norm(prefix + reader_norm(row, row.mlp_in.front())),
              .query_norm = {},
              .key_norm = {},
              .query = linear(prefix + heads.query),
              .key = linear(prefix + heads.key),
              .value = linear(prefix + heads.value),
              .output = linear(prefix + heads.output),
              .gate = linear(prefix + row.mlp_in.at(0)),
              .up = linear(prefix + row.mlp_in.at(1)),
              .down = linear(prefix + row.mlp_out.front()),
              .queries = {rotations(attention, "q_attn"), {}},
              .keys = {rotations(attention, "k_cache"), schemes_.keys(attention)},
              .values = {{}, schemes_.values(attention)}};
  if (!heads.query_norm.empty()) layer.query_norm = norm(prefix + heads.query_norm);
  if (!heads.key_norm.empty()) layer.key_norm = norm(prefix + heads.key_norm);
  return layer;
}

Norm LayerFactory::final_norm() const {
  return norm(weights_.plan().model().stream().norm_reads.back().norm->name);
}

Linear LayerFactory::head(const at::Tensor& tied) const {
  const Model& model = weights_.plan().model();
  Linear head = linear(model.head()->name, tied);
  if (!head.weight.defined()) head.weight = weights_.compute(model.embedding()->name + ".weight");
  return head;
}

Stage LayerFactory::embedding_output() const {
  return {rotations(weights_.plan().model().embedding()->name, "output"), {}};
}

}  // namespace spinor
