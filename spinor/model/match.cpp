#include "spinor/model/match.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "spinor/base/error.h"
#include "spinor/base/pattern.h"

namespace spinor {
namespace {

bool matches(const Module& module, const Pattern& pattern) {
  return pattern.matches(module.name) || (!module.loaded_name.empty() && pattern.matches(module.loaded_name)) ||
         std::ranges::find(module.classes, pattern.target()) != module.classes.end();
}

std::vector<Pattern> compile(std::span<const std::string> targets) {
  return {targets.begin(), targets.end()};
}

bool any_matches(const Module& module, const std::vector<Pattern>& patterns) {
  return std::ranges::any_of(patterns, [&](const Pattern& pattern) { return matches(module, pattern); });
}

// The deepest module name above both, or one of them itself: ("a.b", "a.c") -> "a", ("a.b", "a.b.c") -> "a.b".
std::string common_ancestor(std::string_view a, std::string_view b) {
  const std::string x = fmt::format(".{}.", a), y = fmt::format(".{}.", b);
  const auto shared = static_cast<size_t>(std::ranges::mismatch(x, y).in1 - x.begin());
  const size_t last_dot = x.rfind('.', shared - 1);  // both begin with a dot, so shared >= 1
  return last_dot == 0 ? "" : x.substr(1, last_dot - 1);
}

// A set being collected. `context` is the common ancestor of its modules so far.
struct OpenSet {
  std::map<std::string_view, std::vector<const Module*>> found;  // by target
  std::optional<std::string> context;

  std::vector<std::vector<const Module*>> in_order_of(std::span<const std::string> targets) const {
    std::vector<std::vector<const Module*>> set;
    for (const std::string& target : targets) set.push_back(found.at(target));
    return set;
  }
};

[[noreturn]] void fail_incomplete(const OpenSet& open, const std::set<std::string_view>& targets) {
  std::vector<std::string_view> missing;
  for (const std::string_view target : targets)
    if (!open.found.contains(target)) missing.push_back(target);
  throw Error(
      std::string(open.found.begin()->second.front()->name),
      fmt::format("begins a set of modules that is never completed: nothing matches '{}'", fmt::join(missing, "', '")),
      "every target of a mapping must match in every layer, or in none");
}

}  // namespace

bool matches(const Module& module, std::string_view target) {
  return matches(module, Pattern(target));
}

std::vector<const Module*> match_modules(const Model& model, std::span<const std::string> targets,
                                         std::span<const std::string> ignore) {
  const std::vector<Pattern> wanted = compile(targets), ignored = compile(ignore);
  std::vector<const Module*> found;
  for (const Module& module : model.modules())
    if (any_matches(module, wanted) && !any_matches(module, ignored)) found.push_back(&module);
  return found;
}

std::vector<std::vector<std::vector<const Module*>>> match_module_sets(const Model& model,
                                                                       std::span<const std::string> targets) {
  const std::vector<Pattern> patterns = compile(targets);
  const std::set<std::string_view> distinct(targets.begin(), targets.end());
  std::vector<std::vector<std::vector<const Module*>>> sets;
  OpenSet open;
  for (const Module& module : model.modules()) {
    const std::string* matched = nullptr;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (!matches(module, patterns[i])) continue;
      if (matched && *matched != targets[i])
        throw Error(module.name, fmt::format("matches both '{}' and '{}'", *matched, targets[i]),
                    "the targets of one mapping must name different modules");
      matched = &targets[i];
      std::string context = open.context ? common_ancestor(module.name, *open.context) : module.name;
      // Complete, and this module hangs from elsewhere in the tree: it begins the next set.
      if (open.found.size() == distinct.size() && context != open.context) {
        sets.push_back(open.in_order_of(targets));
        open = {};
        context = module.name;
      }
      open.found[targets[i]].push_back(&module);
      open.context = std::move(context);
    }
  }
  if (open.found.empty()) return sets;
  if (open.found.size() != distinct.size()) fail_incomplete(open, distinct);
  sets.push_back(open.in_order_of(targets));
  return sets;
}

}  // namespace spinor
