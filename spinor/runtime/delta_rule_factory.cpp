#include "spinor/runtime/delta_rule_factory.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::runtime {

bool has_delta_rule(const ModuleFactory& factory, int64_t index) {
  const std::optional<DeltaRow>& row = factory.model().architecture()->forward->delta;
  return row && factory.has(factory.model().layer_prefix(index) + row->output);
}

DeltaRule make_delta_rule(const ModuleFactory& factory, int64_t index) {
  const DeltaRow& row = *factory.model().architecture()->forward->delta;
  const DeltaConfig& config = *factory.forward().delta;
  const std::string prefix = factory.model().layer_prefix(index);
  const auto parameter = [&](const std::string& name) { return factory.weights().compute(prefix + name); };
  std::vector<std::string> linears;
  std::vector<DeltaRule::Piece> pieces;
  for (size_t i = 0; i < row.pieces.size(); ++i) {
    const std::string& name = row.pieces[i].linear;
    if (std::ranges::find(linears, name) == linears.end()) linears.push_back(name);
    const auto linear = static_cast<size_t>(std::ranges::find(linears, name) - linears.begin());
    pieces.push_back({linear, config.pieces[i]});
  }
  DeltaRule rule{.inputs = {},
                 .query = pieces[0],
                 .key = pieces[1],
                 .value = pieces[2],
                 .gate = pieces[3],
                 .strength = pieces[4],
                 .decay = pieces[5],
                 .filter = parameter(row.filter),
                 .decay_bias = parameter(row.decay_bias),
                 .decay_rate = parameter(row.decay_rate),
                 .key_size = config.key_size,
                 .value_size = config.value_size,
                 .norm = factory.norm(prefix + row.norm),
                 .output = factory.linear(prefix + row.output)};
  for (const std::string& name : linears) rule.inputs.push_back(factory.linear(prefix + name));
  return rule;
}

}  // namespace spinor::runtime
