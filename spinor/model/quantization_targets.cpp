#include "spinor/model/quantization_targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "spinor/base/error.h"
#include "spinor/model/linear_experts.h"
#include "spinor/model/match.h"
#include "spinor/model/module_name.h"

namespace spinor {
namespace {

// The class as vLLM has it, to which the peer's rule treats what chooses between experts as a linear. Routers are never
// quantized, but are named in `ignore`.
bool is_router_class(std::string_view name) {
  if (name.find("ExpertMLP") != std::string_view::npos) return false;
  if (name.find("Router") != std::string_view::npos || name.find("Gating") != std::string_view::npos) return true;
  for (size_t at = name.find("Gate"); at != std::string_view::npos; at = name.find("Gate", at + 1))
    if (at + 4 == name.size() || name[at + 4] < 'a' || name[at + 4] > 'z') return true;
  return false;
}

// An embedding that is a parameter is no module of anybody's.
bool can_be_quantized(const Module& module) {
  const bool is_module = module.kind != ModuleKind::embedding || module.classes.front() != "Parameter";
  return module.weight && (module.kind == ModuleKind::linear || module.kind == ModuleKind::embedding) && is_module &&
         !is_router(module);
}

bool is_ignored(const QuantizationConfig& config, const Module& module) {
  return std::ranges::any_of(config.ignore, [&](const std::string& target) { return matches(module, target); });
}

// 0 exact name, 1 regex, 2 class.
int rank(const Module& module, const std::string& target) {
  return target == module.name || target == module.loaded_name ? 0 : target.starts_with("re:") ? 1 : 2;
}

}  // namespace

bool is_router(const Module& module) {
  const std::string_view last = last_component(module.name);
  return is_router_class(module.classes.front()) || last == "gate" || last == "router";
}

const std::pair<std::string, QuantizationScheme>* find_group(const QuantizationConfig& config, const Module& module) {
  if (is_ignored(config, module)) return nullptr;
  const std::pair<std::string, QuantizationScheme>* best = nullptr;
  std::tuple<int, std::string> first;
  for (const auto& group : config.config_groups)
    for (const std::string& target : group.second.targets) {
      if (!matches(module, target)) continue;
      const std::tuple<int, std::string> key(rank(module, target), target);
      if (best && first < key) continue;  // of groups with one and the same target the last counts
      best = &group;
      first = key;
    }
  return best;
}

std::vector<QuantizedModule> quantized_modules(const QuantizationConfig& config, const Model& model) {
  std::vector<QuantizedModule> found;
  for (const Module& module : model.modules()) {
    if (!can_be_quantized(module)) continue;
    if (const auto* group = find_group(config, module); group && group->second.weights)
      found.push_back({&module, group});
  }
  return found;
}

std::optional<Model> with_quantized_experts(const QuantizationConfig& config, const Model& model) {
  const auto left = [&](const Module& module) { return is_stack(module) && !is_ignored(config, module); };
  if (std::ranges::none_of(model.modules(), left)) return {};
  std::optional<Model> linear = with_linear_experts(model);
  if (!linear) return {};
  bool found = false;
  for (const QuantizedModule& one : quantized_modules(config, *linear)) {
    if (!one.module->expert) continue;
    if (const Module& stack = stack_of(*one.module, model); is_ignored(config, stack))
      throw Error(stack.name, "is in ignore, but other experts are quantized one by one, and then it is no module",
                  fmt::format("name its linears in ignore (--ignore by command), too: {}", one.module->name));
    found = true;
  }
  return found ? std::move(linear) : std::nullopt;
}

std::vector<std::string> modules_left_out(const std::vector<QuantizedModule>& quantized, const Model& model) {
  const auto class_of = [](const Module& module) {
    const bool head = module.role == Role::mtp && module.kind == ModuleKind::linear;
    return head || is_router_class(module.classes.front()) ? "Linear" : module.classes.front();
  };
  std::set<std::string> classes;
  std::set<const Module*> taken;
  for (const QuantizedModule& one : quantized) {
    classes.insert(class_of(*one.module));
    taken.insert(one.module);
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> left_out;  // class by class
  for (const Module& module : model.modules()) {
    const std::string type = class_of(module);
    if (!classes.contains(type) || taken.contains(&module)) continue;
    auto found = std::ranges::find(left_out, type, [](const auto& entry) { return entry.first; });
    if (found == left_out.end()) found = left_out.insert(left_out.end(), {type, {}});
    found->second.push_back(module.name_in_memory());
  }
  std::vector<std::string> names;
  for (const auto& [type, of_type] : left_out) names.insert(names.end(), of_type.begin(), of_type.end());
  return names;
}

namespace {

// Whoever says Linear means the experts, too.
void check_stacks(const QuantizationConfig& config, const Model& model, const Place& place) {
  const auto takes_linears = [](const auto& group) {
    return group.second.weights && std::ranges::find(group.second.targets, "Linear") != group.second.targets.end();
  };
  if (std::ranges::none_of(config.config_groups, takes_linears)) return;
  std::vector<const Module*> stacks;
  for (const Module& module : model.modules())
    if (is_stack(module) && !is_ignored(config, module)) stacks.push_back(&module);
  for (const Module* stack : stacks)
    if (!can_be_split(model, *stack))
      place.fail(stack->name + " is a stack of matrices, and its row does not say into which linears it splits",
                 leave_out_hint(stack->name));
  if (stacks.empty()) return;
  const std::string& first = stacks.front()->name;
  if (!with_linear_experts(model))
    place.fail(first + " is a stack of experts, which is quantized already and cannot be split", leave_out_hint(first));
  if (with_quantized_experts(config, model))
    place.fail(first + " is a stack of experts, which are quantized one by one",
               "plan with_linear_experts(model), or " + leave_out_hint(first));
}

}  // namespace

namespace {

void check_quantizes(const QuantizationConfig& config, const Model& model, const Place& place) {
  const bool asked =
      std::ranges::any_of(config.config_groups, [](const auto& group) { return group.second.weights.has_value(); });
  if (!asked || !quantized_modules(config, model).empty()) return;
  const bool transposed = std::ranges::any_of(model.modules(), [](const Module& m) { return m.shape.transposed; });
  place.fail("no weight would be quantized: targets matches nothing that ignore leaves",
             transposed ? "the model's linears are stored transposed (Conv1D), and no format has quantized weights so"
                        : "widen --targets (targets in a recipe)");
}

}  // namespace

std::vector<std::string> check_targets(const QuantizationConfig& config, const Model& model, const Place& place) {
  const auto matched = [&](const std::string& target) {
    return std::ranges::any_of(model.modules(), [&](const Module& module) { return matches(module, target); });
  };
  for (const auto& [name, scheme] : config.config_groups)
    for (const std::string& target : scheme.targets) {
      const auto found = match_modules(model, {&target, 1});
      if (found.empty()) place.fail("no module of the model matches the target '" + target + "'");
      if (scheme.weights && std::ranges::none_of(found, [](const Module* m) { return can_be_quantized(*m); }))
        place.fail("the target '" + target + "' matches no linear and no embedding",
                   "other modules cannot be quantized, nor routers");
    }
  check_stacks(config, model, place);
  check_quantizes(config, model, place);
  const std::optional<Model> linear = with_linear_experts(model);  // whose experts may be what is to be left out
  std::vector<std::string> unused;
  for (const std::string& target : config.ignore)
    if (!matched(target) && (!linear || match_modules(*linear, {&target, 1}).empty())) unused.push_back(target);
  return unused;
}

}  // namespace spinor
