#include "spinor/runtime/mlp_factory.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/model/forward_modules.h"
#include "spinor/model/module_name.h"

namespace spinor::runtime {
namespace {

Gate gate_of(const ModuleFactory& factory, const std::string& prefix, const MlpNames& names) {
  return spinor::gate_of(names, factory.module(prefix + names.in.back()).shape,
                         factory.module(prefix + names.out).shape);
}

Mlp mlp(const ModuleFactory& factory, const std::string& prefix, const MlpNames& names) {
  const Gate gate = gate_of(factory, prefix, names);
  Mlp made{.gate = gate,
           .gate_in = {},
           .in = factory.linear(prefix + names.in.back()),
           .out = factory.linear(prefix + names.out)};
  if (gate == Gate::own) made.gate_in = factory.linear(prefix + names.in[0]);
  return made;
}

std::vector<Mlp> stacked(const ModuleFactory& factory, const std::string& prefix, const MlpNames& names) {
  const Gate gate = gate_of(factory, prefix, names);
  std::vector<Linear> in = factory.stacked(prefix + names.in[0]), out = factory.stacked(prefix + names.out);
  std::vector<Mlp> experts;
  for (size_t i = 0; i < in.size(); ++i) experts.push_back({gate, {}, std::move(in[i]), std::move(out[i])});
  return experts;
}

std::vector<Mlp> counted(const ModuleFactory& factory, const std::string& prefix, const MlpNames& names) {
  std::vector<Mlp> experts;
  for (int64_t i = 0; factory.has(prefix + numbered(names.out, i)); ++i) {
    MlpNames mine{{}, numbered(names.out, i), names.alternating};
    for (const std::string& in : names.in) mine.in.push_back(numbered(in, i));
    experts.push_back(mlp(factory, prefix, mine));
  }
  return experts;
}

std::optional<Router> router(const ModuleFactory& factory, const std::string& prefix) {
  const std::optional<RouterRow>& row = factory.model().architecture()->forward->router;
  if (!row || !factory.forward().router || !factory.has(prefix + row->name)) return std::nullopt;
  Router made{.linear = factory.router(prefix + row->name),
              .correction = {},
              .routing = row->routing,
              .config = *factory.forward().router,
              .best_two = row->best_two};
  if (!row->correction.empty()) made.correction = widened(factory.weights().compute(prefix + row->correction));
  return made;
}

}  // namespace

FeedForward make_feed_forward(const ModuleFactory& factory, int64_t index) {
  const std::string prefix = factory.model().layer_prefix(index);
  const Architecture& row = *factory.model().architecture();
  FeedForward made{.activation = find_activation(factory.forward()),
                   .common = {},
                   .common_gate = {},
                   .router = router(factory, prefix),
                   .experts = {}};
  for (const MlpNames& names : mlps_of(row)) {
    const Module* out = factory.model().find(prefix + numbered(names.out, 0));
    if (!out) continue;
    const bool counts = names.out.find("{E}") != std::string::npos;
    const bool stack = out->shape.count > 1 || out->weight->info.shape.size() > 2;
    if (counts || stack ? !made.experts.empty() : made.common.has_value())
      throw Error(prefix + names.out, "is the second MLP of its layer, and spinor runs one, and experts beside it");
    if (counts)
      made.experts = counted(factory, prefix, names);
    else if (stack)
      made.experts = stacked(factory, prefix, names);
    else
      made.common = mlp(factory, prefix, names);
  }
  const std::string gate = row.forward->router ? row.forward->router->shared_gate : "";
  if (!gate.empty() && factory.has(prefix + gate)) made.common_gate = factory.router(prefix + gate);
  return made;
}

}  // namespace spinor::runtime
