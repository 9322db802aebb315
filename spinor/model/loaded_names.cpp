#include "spinor/model/loaded_names.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <string_view>

#include "spinor/model/modules.h"

namespace spinor {
namespace {

std::string left_out(const Architecture& row, const std::string& root) {
  for (const std::string& whole : row.roots) {
    const size_t prefix = whole.find('.') + 1;
    if (whole != root && whole.substr(prefix) == root) return whole.substr(0, prefix);
  }
  return "";
}

// The name with another beginning, in which {N} is the number that it stands for in the one of the files; none: the
// name begins otherwise.
std::optional<std::string> begun_anew(std::string_view stored, std::string loaded, std::string_view name) {
  constexpr std::string_view kAnyNumber = "{N}";
  for (size_t at = stored.find(kAnyNumber); at != std::string_view::npos; at = stored.find(kAnyNumber)) {
    if (name.substr(0, at) != stored.substr(0, at)) return {};
    name.remove_prefix(at);
    stored.remove_prefix(at + kAnyNumber.size());
    const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
    const size_t digits = std::ranges::find_if_not(name, is_digit) - name.begin();
    if (digits == 0) return {};
    if (const size_t place = loaded.find(kAnyNumber); place != std::string::npos)
      loaded.replace(place, kAnyNumber.size(), name.substr(0, digits));
    name.remove_prefix(digits);
  }
  if (!name.starts_with(stored)) return {};
  return loaded.append(name.substr(stored.size()));
}

}  // namespace

LoadedNames::LoadedNames(const Architecture& row, const Checkpoint& checkpoint)
    : row_(row), head_(head_of(row, checkpoint)) {
  const auto add = [&](const Architecture& one) {
    const std::string root = root_of(one, checkpoint), prefix = left_out(one, root);
    if (!prefix.empty()) roots_.emplace_back(root, prefix);
  };
  for (const Architecture& tower : row.towers) add(tower);
  add(row);
}

std::string LoadedNames::of(const std::string& module) const {
  for (const auto& [stored, loaded] : row_.loaded_as)
    if (const auto name = begun_anew(stored, loaded, module + "."))
      return loaded.empty() ? "" : name->substr(0, name->size() - 1);
  if (module.empty() || module == head_) return "";
  for (const auto& [root, prefix] : roots_)
    if ((module + ".").starts_with(root)) return prefix + module;
  return "";
}

void name_as_loaded(std::vector<Module>& modules, const LoadedNames& names) {
  std::set<std::string> loaded_names;
  for (Module& module : modules) {
    if (module.role == Role::mtp) continue;
    const std::string name = module.name_in_memory();  // as far as is known
    if (const std::string loaded = names.of(name); !loaded.empty()) module.loaded_name = loaded;
    if (!module.loaded_name.empty()) loaded_names.insert(module.loaded_name);
  }
  std::erase_if(modules, [&](const Module& module) {
    return module.kind == ModuleKind::container && loaded_names.contains(module.name);
  });
}

bool is_remade(const Architecture& row, const std::string& module) {
  return std::ranges::any_of(
      row.loaded_as, [&](const auto& pair) { return pair.second.empty() && begun_anew(pair.first, "", module + "."); });
}

}  // namespace spinor
