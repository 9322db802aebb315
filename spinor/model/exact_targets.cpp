#include "spinor/model/exact_targets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>

#include "spinor/model/module_name.h"

namespace spinor {
namespace {

// A module of those with the same name but for the numbers in it.
struct Member {
  std::vector<std::string> components;
  std::vector<size_t> numbers;  // which components are
  size_t group;
};

std::vector<std::string> components_of(const std::string& name) {
  std::vector<std::string> components;
  for (const auto part : std::views::split(name, '.')) components.emplace_back(part.begin(), part.end());
  return components;
}

struct Members {
  std::vector<Member> all;

  bool alike() const {
    return std::ranges::all_of(all, [&](const Member& member) { return member.group == all.front().group; });
  }
};

class ExactTargets {
 public:
  explicit ExactTargets(size_t groups) : targets_(groups) {}

  // The first `fixed` numbers are the same for all of them.
  void add(const Members& members, size_t fixed) {
    const Member& first = members.all.front();
    if (members.alike()) {
      targets_[first.group].push_back(members.all.size() == 1 ? name_of(first) : regex_of(first, fixed));
      return;
    }
    std::vector<std::pair<std::string, Members>> parts;
    for (const Member& member : members.all) {
      const std::string& number = member.components[member.numbers[fixed]];
      auto part = std::ranges::find(parts, number, [](const auto& entry) { return entry.first; });
      if (part == parts.end()) part = parts.insert(parts.end(), {number, {}});
      part->second.all.push_back(member);
    }
    for (const auto& [number, part] : parts) add(part, fixed + 1);
  }

  std::vector<std::vector<std::string>>& targets() { return targets_; }

 private:
  static std::string name_of(const Member& member) { return fmt::format("{}", fmt::join(member.components, ".")); }

  // Names of programs begin otherwise where a model has several parts ("language_model.model."), so that the regex
  // begins with the component before the first number.
  static std::string regex_of(const Member& member, size_t fixed) {
    const size_t begin = member.numbers.front() > 0 ? member.numbers.front() - 1 : 0;
    std::string regex = begin > 0 ? "re:(.*\\.)?" : "re:";
    for (size_t i = begin, number = 0; i < member.components.size(); ++i) {
      if (i > begin) regex += "\\.";
      const bool any = is_number(member.components[i]) && number++ >= fixed;
      regex += any ? "\\d+" : member.components[i];
    }
    return regex + "$";
  }

  std::vector<std::vector<std::string>> targets_;
};

size_t group_index(const QuantizationConfig& config, const QuantizationScheme& scheme) {
  const auto found =
      std::ranges::find_if(config.config_groups, [&](const auto& group) { return group.second == scheme; });
  return static_cast<size_t>(found - config.config_groups.begin());
}

bool has_class(const Module& module, const char* name) {
  return std::ranges::find(module.classes, name) != module.classes.end();
}

// Whether "Embedding" means modules of that group alone.
bool is_class_of(const std::vector<QuantizedModule>& quantized, const QuantizationScheme& scheme, const Model& model) {
  std::set<const Module*> own;
  for (const QuantizedModule& one : quantized)
    if (one.group->second == scheme) own.insert(one.module);
  return std::ranges::all_of(model.modules(), [&](const Module& module) {
    return !has_class(module, "Embedding") || module.role == Role::mtp || own.contains(&module);
  });
}

void add_target(std::vector<std::string>& targets, const std::string& target) {
  if (std::ranges::find(targets, target) == targets.end()) targets.push_back(target);
}

}  // namespace

QuantizationConfig with_ends_named(QuantizationConfig config, const std::vector<QuantizedModule>& quantized,
                                   const Model& model) {
  QuantizationConfig named = config;
  for (const QuantizedModule& one : quantized) {
    std::vector<std::string>& targets = named.config_groups[group_index(config, one.group->second)].second.targets;
    if (one.module == model.head()) add_target(targets, one.module->name_in_memory());
    if (one.module == model.embedding() && is_class_of(quantized, one.group->second, model))
      add_target(targets, "Embedding");
  }
  return named;
}

QuantizationConfig with_exact_targets(QuantizationConfig config, const std::vector<QuantizedModule>& quantized,
                                      const Model& model) {
  std::vector<std::pair<std::string, Members>> kinds;  // "model.layers.{}.mlp.down_proj"
  std::map<std::string, size_t> places;
  ExactTargets exact(config.config_groups.size());
  for (const QuantizedModule& one : quantized) {
    Member member{components_of(one.module->name_in_memory()), {}, group_index(config, one.group->second)};
    if (has_class(*one.module, "Embedding") && is_class_of(quantized, one.group->second, model)) {
      add_target(exact.targets()[member.group], "Embedding");
      continue;
    }
    std::string kind;
    for (size_t i = 0; i < member.components.size(); ++i) {
      const bool number = is_number(member.components[i]);
      if (number) member.numbers.push_back(i);
      kind += (number ? "{}" : member.components[i]) + ".";
    }
    const auto [place, added] = places.emplace(kind, kinds.size());
    if (added) kinds.push_back({kind, {}});
    kinds[place->second].second.all.push_back(std::move(member));
  }
  for (const auto& [kind, members] : kinds) exact.add(members, 0);
  for (size_t i = 0; i < config.config_groups.size(); ++i)
    config.config_groups[i].second.targets = std::move(exact.targets()[i]);
  return config;
}

}  // namespace spinor
