#include "spinor/verify/context.h"

#include <utility>

namespace spinor::verify {

void Context::add(std::string what, std::vector<std::string> tensors, Role role, double error, double bound,
                  std::string hint) {
  report.add({std::move(what), std::move(tensors), std::string(name_of(role)), error, bound, std::move(hint)});
}

std::optional<Slice> value_rows(const Context& context, const Module& linear) {
  for (const Module* value : context.values)
    if (value->part && value->weight == linear.weight) return value->part;
  return std::nullopt;
}

}  // namespace spinor::verify
