#include "spinor/model/untouched.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <string>

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

// A linear's name as the row has it. Files may have more at its beginning (vision_tower.vision_model.encoder.layers.0
// for vision_tower.encoder.layers.0), which transformers leaves out in memory; a name of one component is no evidence.
std::optional<std::string> linear_name(const UntouchedRow& row, const CheckpointTensor& tensor) {
  const std::string& name = tensor.info.name;
  if (tensor.info.shape.size() != 2 || !name.ends_with(kWeightEnd)) return {};
  const std::string all = name.substr(0, name.size() - kWeightEnd.size());
  const bool alone = all + "." == row.beginning;               // no part of the tower, but all of it
  if (!alone && all.size() < row.beginning.size()) return {};  // the beginning is the tensor's whole name
  std::string module = alone ? "" : all.substr(row.beginning.size());
  const auto is_it = [&](const std::string& one) { return matches_numbers(one, module); };
  if (alone) return std::ranges::any_of(row.linears, is_it) ? std::optional(all) : std::nullopt;
  for (bool whole = true;; whole = false) {
    const size_t dot = module.find('.');
    if ((whole || dot != std::string::npos) && std::ranges::any_of(row.linears, is_it)) return row.beginning + module;
    if (dot == std::string::npos) return {};
    module = module.substr(dot + 1);
  }
}

Module linear_of(const Checkpoint& checkpoint, const CheckpointTensor& weight, const std::string& name_in_row) {
  const std::string name = weight.info.name.substr(0, weight.info.name.size() - kWeightEnd.size());
  return {.name = name,
          .classes = {"Linear", "Module"},
          .kind = ModuleKind::linear,
          .role = Role::projection,
          .weight = &weight,
          .bias = checkpoint.find(name + std::string(kBiasEnd)),
          .shape = {.out = weight.info.rows(), .in = weight.info.cols()},
          .loaded_name = name_in_row == name ? "" : name_in_row};
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
      if (const auto name = here(tensor) ? linear_name(part, tensor) : std::nullopt)
        add(linear_of(checkpoint, tensor, *name));
    for (const CheckpointTensor& tensor : checkpoint.tensors())
      if (here(tensor)) add(parameter_of(tensor));
  }
  return modules;
}

}  // namespace spinor
