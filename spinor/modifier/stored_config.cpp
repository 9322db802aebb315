#include "spinor/modifier/stored_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "spinor/model/client_targets.h"
#include "spinor/model/exact_targets.h"

namespace spinor {
namespace {

QuantizationConfig grouped(const std::vector<QuantizedModule>& modules) {
  QuantizationConfig config;
  for (const QuantizedModule& one : modules) {
    const auto same = [&](const auto& group) { return group.second == one.group->second; };
    if (std::ranges::none_of(config.config_groups, same))
      config.config_groups.emplace_back(fmt::format("group_{}", config.config_groups.size()), one.group->second);
  }
  return config;
}

// Layers of multi-token prediction that the plan leaves out need no name; tensors of theirs that are no modules have
// one, too.
void name_heads(std::vector<std::string>& ignore, const Model& model, const RewritePlan& plan) {
  std::erase_if(ignore, [&](const std::string& name) {
    const Module* module = model.find(name);
    return module && module->role == Role::mtp && module->weight && !plan.find(weight_name(*module));
  });
  constexpr std::string_view suffix = ".weight";
  for (const CheckpointTensor* tensor : model.mtp()) {
    const std::string& name = tensor->info.name;
    if (model.owner(name) || tensor->info.shape.size() != 2 || !name.ends_with(suffix) || !plan.find(name)) continue;
    ignore.push_back(name.substr(0, name.size() - suffix.size()));
  }
}

bool same_but_targets(QuantizationScheme a, const QuantizationScheme& b) {
  a.targets = b.targets;
  return a == b;
}

// Gives it an `ignore`: who is left out, and whom else its targets mean. Returns the first module that would have
// another scheme than its own; null: there is none.
const Module* name_the_rest(QuantizationConfig& config, const std::vector<QuantizedModule>& modules, const Model& model,
                            const RewritePlan& plan) {
  std::map<const Module*, const QuantizationScheme*> schemes;
  for (const QuantizedModule& one : modules) schemes.emplace(one.module, &one.group->second);
  std::vector<std::string> ignore = modules_left_out(modules, model);
  std::set<std::string> ignored(ignore.begin(), ignore.end());
  for (const QuantizedModule& found : quantized_modules(config, model)) {
    const auto scheme = schemes.find(found.module);
    if (scheme == schemes.end()) {
      if (ignored.insert(found.module->name_in_memory()).second) ignore.push_back(found.module->name_in_memory());
    } else if (!same_but_targets(found.group->second, *scheme->second)) {
      return found.module;
    }
  }
  if (!modules.empty()) name_heads(ignore, model, plan);
  config.ignore = std::move(ignore);
  return nullptr;
}

bool read_alike(const QuantizationConfig& config, const std::vector<QuantizedModule>& modules, const Model& model) {
  return !find_misreading(config, modules, model, TargetReader::vllm) &&
         !find_misreading(config, modules, model, TargetReader::sglang);
}

QuantizationConfig as_stored(const std::vector<QuantizedModule>& modules, const Model& model, const RewritePlan& plan,
                             const Place& place) {
  QuantizationConfig config = grouped(modules);
  if (const Module* other = name_the_rest(config, modules, model, plan))
    place.fail("config.json cannot say which scheme " + other->name + " has: other modules have the same targets",
               "give each group, and each modifier, targets of its own: names or re: regexes");
  if (read_alike(config, modules, model)) return config;
  for (const auto write : {with_ends_named, with_exact_targets}) {
    QuantizationConfig other = write(config, modules, model);
    if (!name_the_rest(other, modules, model, plan) && read_alike(other, modules, model)) return other;
  }
  return config;
}

}  // namespace

bool is_quantized(const Module& module, const RewritePlan& plan) {
  const TensorPlan* tensor = plan.find(weight_name(module));
  return tensor && quantization_of(tensor->edits);
}

QuantizationConfig stored_config(const std::vector<QuantizedModule>& modules, const Model& model,
                                 const RewritePlan& plan, const std::optional<QuantizationArgs>& kv_cache_scheme,
                                 const Place& place) {
  QuantizationConfig earlier = plan.quantization().value_or(QuantizationConfig{});
  earlier.ignore.clear();  // those that no modifier quantized, or this one
  std::set<const Module*> own;
  for (const QuantizedModule& one : modules) own.insert(one.module);
  std::vector<QuantizedModule> all;
  for (const QuantizedModule& one : quantized_modules(earlier, model))
    if (is_quantized(*one.module, plan) && !own.contains(one.module)) all.push_back(one);
  std::ranges::copy(modules, std::back_inserter(all));
  QuantizationConfig config = as_stored(all, model, plan, place);
  if (kv_cache_scheme && earlier.kv_cache_scheme)
    place.fail("kv_cache_scheme is given by another modifier already", "leave one of them out");
  config.kv_cache_scheme = kv_cache_scheme ? kv_cache_scheme : earlier.kv_cache_scheme;
  return config;
}

}  // namespace spinor
