#include "spinor/verify/context.h"

#include <algorithm>
#include <utility>

#include "spinor/base/list.h"

namespace spinor::verify {
namespace {

bool blames(const Check& check, const std::vector<std::string>& tensors) {
  const bool one = check.what == "reader" || check.what == "writer" || check.what == "unchanged";
  return one && !check.passed() && contains(tensors, check.tensors.front());
}

}  // namespace

void Context::add(std::string what, std::vector<std::string> tensors, Role role, double error, double bound,
                  std::string hint) {
  report.add({std::move(what), std::move(tensors), std::string(name_of(role)), error, bound, std::move(hint)});
}

bool Context::failed(const std::vector<std::string>& tensors) const {
  return std::ranges::any_of(report.checks, [&](const Check& check) { return blames(check, tensors); });
}

bool Context::excuse(std::string what, std::vector<std::string> tensors, Role role, double error) {
  if (!(error <= 1)) return false;
  std::erase_if(report.checks, [&](const Check& check) { return blames(check, tensors); });
  const double bound = kBoundFactor * u();
  add(std::move(what), std::move(tensors), role, error * bound, bound, "");
  return true;
}

std::optional<Slice> value_rows(const Context& context, const Module& linear) {
  for (const Module* value : context.values)
    if (value->part && value->weight == linear.weight) return value->part;
  return std::nullopt;
}

}  // namespace spinor::verify
