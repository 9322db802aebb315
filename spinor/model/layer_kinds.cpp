#include "spinor/model/layer_kinds.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/model/module_name.h"

namespace spinor {
namespace {

using Names = std::set<std::string>;

Names without(const Names& all, const Names& some) {
  Names rest;
  std::ranges::set_difference(all, some, std::inserter(rest, rest.end()));
  return rest;
}

[[noreturn]] void fail_kind(const Architecture& row, const std::string& layer, const Names& found) {
  Names missing, more;
  size_t fewest = static_cast<size_t>(-1);
  for (const std::vector<std::string>& kind : row.layer_kinds) {
    const Names names(kind.begin(), kind.end());
    const Names a = without(names, found), b = without(found, names);
    if (a.size() + b.size() >= fewest) continue;
    fewest = a.size() + b.size();
    missing = a;
    more = b;
  }
  std::string what = fmt::format("has {}", fmt::join(found, ", "));
  if (found.empty()) what = "has none of the modules that kinds of layers differ in";
  if (!missing.empty()) what += fmt::format(", but not {}", fmt::join(missing, ", "));
  if (!more.empty()) what += fmt::format("; {} belongs to no such layer", fmt::join(more, ", "));
  throw Error(layer, what + ": no kind of layer that the row lists",
              "the checkpoint is not complete, or layer_kinds of the row is not");
}

}  // namespace

std::set<std::string> present_in_layer(const Architecture& row, const std::string& prefix, const ModuleList& list) {
  Names found;
  const auto look = [&](const auto& rows) {
    for (const auto& one : rows)
      if (one.when == kPresent && list.is_there(name_in_layer(prefix, numbered(one.name, 0)))) found.insert(one.name);
  };
  const auto is_there = [&](const std::string& name) { return list.is_there(name); };
  for (const LinearRow& one : row.linears)
    if (one.when == kPresent && std::ranges::any_of(list.names(one, prefix), is_there)) found.insert(one.name);
  look(row.norms);
  look(row.parameters);
  const auto is_found = [&](const std::vector<std::string>& kind) { return Names(kind.begin(), kind.end()) == found; };
  if (!row.layer_kinds.empty() && std::ranges::none_of(row.layer_kinds, is_found))
    fail_kind(row, prefix.substr(0, prefix.size() - 1), found);
  return found;
}

}  // namespace spinor
