#include "spinor/model/modules_by_name.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "spinor/model/module_name.h"

namespace spinor {
namespace {

struct Weights {
  const CheckpointTensor *weight = nullptr, *bias = nullptr;
};

std::string_view next_component(std::string_view& name) {
  const std::string_view component = name.substr(0, name.find('.'));
  name.remove_prefix(std::min(component.size() + 1, name.size()));
  return component;
}

// Component by component: numbers first, by value (their length, then their text), then words.
struct NaturalLess {
  bool operator()(std::string_view a, std::string_view b) const {
    while (!a.empty() && !b.empty()) {
      const std::string_view x = next_component(a), y = next_component(b);
      if (x == y) continue;
      if (is_number(x) != is_number(y)) return is_number(x);
      return is_number(x) && x.size() != y.size() ? x.size() < y.size() : x < y;
    }
    return a.empty() && !b.empty();
  }
};

int layer_of(std::string_view name) {
  while (!name.empty()) {
    const std::string_view component = next_component(name);
    if (is_number(component) && component.size() < 9) return std::stoi(std::string(component));
  }
  return -1;
}

Module make_module(std::string_view name, const Weights& tensors) {
  Module module{.name = std::string(name), .classes = {"Module"}, .layer = layer_of(name)};
  if (!tensors.weight) return module;
  module.weight = tensors.weight;
  module.bias = tensors.bias;
  module.shape = {.out = tensors.weight->info.rows(), .in = tensors.weight->info.cols()};
  if (tensors.weight->info.shape.size() == 1) {
    module.kind = ModuleKind::norm;
  } else {
    module.kind = names_embedding(name) ? ModuleKind::embedding : ModuleKind::linear;
    module.classes.insert(module.classes.begin(), module.kind == ModuleKind::embedding ? "Embedding" : "Linear");
  }
  return module;
}

}  // namespace

std::vector<Module> modules_by_name(const Checkpoint& checkpoint, std::string_view architecture) {
  std::map<std::string_view, Weights> owned;
  std::set<std::string_view, NaturalLess> names = {""};
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    const std::string_view name = tensor.info.name, owner = parent_of(name), what = last_component(name);
    for (std::string_view module = owner; !module.empty(); module = parent_of(module)) names.insert(module);
    if (owner.empty()) continue;
    const size_t dimensions = tensor.info.shape.size();
    if (what == "weight" && (dimensions == 1 || dimensions == 2)) owned[owner].weight = &tensor;
    if (what == "bias" && dimensions == 1) owned[owner].bias = &tensor;
  }
  std::vector<Module> modules;
  for (const std::string_view name : names) modules.push_back(make_module(name, owned[name]));
  if (!architecture.empty()) modules.front().classes.insert(modules.front().classes.begin(), std::string(architecture));
  return modules;
}

const Module* find_token_embedding(const std::vector<Module>& modules) {
  const Module* found = nullptr;
  for (const Module& module : modules) {
    const std::string_view last = last_component(module.name);
    const bool other =
        last == "wpe" || last.find("pos") != std::string_view::npos || last.find("type") != std::string_view::npos;
    if (module.kind != ModuleKind::embedding || other) continue;
    if (found) return nullptr;
    found = &module;
  }
  return found;
}

}  // namespace spinor
