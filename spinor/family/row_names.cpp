#include <algorithm>
#include <string>

#include "spinor/base/error.h"
#include "spinor/family/row_files.h"

namespace spinor {
namespace {

constexpr std::string_view kBegin = "names: [", kEnd = "]";

}  // namespace

std::vector<std::string_view> names_of_row(const RowFile& file) {
  std::string_view text = file.text;
  while (text.starts_with('#')) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  const std::string_view line = text.substr(0, text.find('\n'));
  if (!line.starts_with(kBegin) || !line.ends_with(kEnd))
    throw Error(std::string(file.name), "does not begin with a line `names: [...]`");
  std::string_view list = line.substr(kBegin.size(), line.size() - kBegin.size() - kEnd.size());
  std::vector<std::string_view> names;
  while (!list.empty()) {
    names.push_back(list.substr(0, list.find(", ")));
    list.remove_prefix(std::min(list.size(), names.back().size() + 2));
  }
  return names;
}

bool holds_refusals(const RowFile& file) {
  return file.name == "rows/refused.yaml" || file.name == "rows/undecided.yaml";
}

}  // namespace spinor
