#include "spinor/model/untouched.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace spinor {
namespace {

constexpr std::string_view kWeightEnd = ".weight", kBiasEnd = ".bias", kNumber = "{N}";

using Taken = std::set<const CheckpointTensor*>;

Taken tensors_of(const std::vector<Module>& modules) {
  Taken taken;
  for (const Module& module : modules) {
    taken.insert(module.weight);
    taken.insert(module.bias);
  }
  return taken;
}

bool is_linear(const UntouchedRow& row, const CheckpointTensor& tensor) {
  const std::string& name = tensor.info.name;
  if (tensor.info.shape.size() != 2 || !name.ends_with(kWeightEnd)) return false;
  const std::string_view module =
      std::string_view(name).substr(row.beginning.size(), name.size() - row.beginning.size() - kWeightEnd.size());
  return std::ranges::any_of(row.linears, [&](const std::string& one) { return matches_numbers(one, module); });
}

Module linear_of(const Checkpoint& checkpoint, const CheckpointTensor& weight) {
  const std::string name = weight.info.name.substr(0, weight.info.name.size() - kWeightEnd.size());
  return {.name = name,
          .classes = {"Linear", "Module"},
          .kind = ModuleKind::linear,
          .role = Role::projection,
          .weight = &weight,
          .bias = checkpoint.find(name + std::string(kBiasEnd)),
          .shape = {.out = weight.info.rows(), .in = weight.info.cols()}};
}

Module parameter_of(const CheckpointTensor& tensor) {
  return {.name = tensor.info.name,
          .classes = {"Parameter"},
          .kind = ModuleKind::parameter,
          .role = Role::parameter,
          .weight = &tensor};
}

}  // namespace

bool matches_numbers(std::string_view pattern, std::string_view name) {
  const size_t number = pattern.find(kNumber);
  if (number == std::string_view::npos) return pattern == name;
  if (name.substr(0, number) != pattern.substr(0, number)) return false;
  size_t end = number;
  while (end < name.size() && std::isdigit(static_cast<unsigned char>(name[end])) != 0) ++end;
  return end > number && matches_numbers(pattern.substr(number + kNumber.size()), name.substr(end));
}

std::vector<Module> untouched_modules(const Architecture& row, const Checkpoint& checkpoint,
                                      const std::vector<Module>& known) {
  std::vector<Module> modules;
  Taken taken = tensors_of(known);
  const auto add = [&](Module module) {
    taken.insert({module.weight, module.bias});
    modules.push_back(std::move(module));
  };
  for (const UntouchedRow& part : row.untouched) {
    const auto here = [&](const CheckpointTensor& tensor) {
      return tensor.info.name.starts_with(part.beginning) && !taken.contains(&tensor);
    };
    for (const CheckpointTensor& tensor : checkpoint.tensors())
      if (here(tensor) && is_linear(part, tensor)) add(linear_of(checkpoint, tensor));
    for (const CheckpointTensor& tensor : checkpoint.tensors())
      if (here(tensor)) add(parameter_of(tensor));
  }
  return modules;
}

}  // namespace spinor
