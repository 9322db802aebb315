#include "spinor/transform/probe_context.h"

#include <utility>

namespace spinor {

void ProbeContext::add(std::string what, std::vector<std::string> tensors, Role role, double error, double bound,
                       std::string hint) {
  report.add({std::move(what), std::move(tensors), std::string(name_of(role)), error, bound, std::move(hint)});
}

std::optional<Slice> value_rows(const ProbeContext& probe, const Module& linear) {
  for (const Module* value : probe.values)
    if (value->part && value->weight == linear.weight) return value->part;
  return std::nullopt;
}

}  // namespace spinor
