#include "spinor/model/loaded_names.h"

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
    if (const std::string whole = module + "."; whole.starts_with(stored)) {  // it may be the beginning itself
      const std::string name = loaded + whole.substr(stored.size());
      return name.substr(0, name.size() - 1);
    }
  if (module.empty() || module == head_) return "";
  for (const auto& [root, prefix] : roots_)
    if ((module + ".").starts_with(root)) return prefix + module;
  return "";
}

}  // namespace spinor
