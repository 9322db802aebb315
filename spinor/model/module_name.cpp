#include "spinor/model/module_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace spinor {

std::string_view parent_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? "" : name.substr(0, dot);
}

std::string_view last_component(std::string_view name) {
  return name.substr(name.rfind('.') + 1);  // npos + 1 is 0
}

bool is_number(std::string_view component) {
  return !component.empty() && std::ranges::all_of(component, [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string numbered(std::string name, int64_t number) {
  const size_t at = name.find("{E}");
  return at == std::string::npos ? name : name.replace(at, 3, std::to_string(number));
}

std::vector<std::string> counted(const std::string& name, int64_t count) {
  if (name.find("{E}") == std::string::npos) return {name};
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(numbered(name, i));
  return names;
}

std::optional<int64_t> number_in(std::string_view name, std::string_view pattern) {
  const size_t at = pattern.find("{E}");
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = pattern.substr(0, at), after = pattern.substr(at + 3);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after))
    return std::nullopt;
  const std::string_view digits = name.substr(before.size(), name.size() - before.size() - after.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (!is_number(digits) || error != std::errc{}) return std::nullopt;
  return number;
}

std::string name_in_layer(std::string_view layer, const std::string& name) {
  const size_t at = name.find("{L}");
  if (at == std::string::npos) return std::string(layer) + name;
  const std::string_view one = layer.substr(0, layer.rfind('.')), list = parent_of(one);
  std::string full(list.substr(0, list.rfind('.') + 1));  // npos + 1 is 0
  return full.append(name, 0, at).append(last_component(one)).append(name, at + 3);
}

bool names_embedding(std::string_view name) {
  const std::string_view last = last_component(name);
  if (last == "wte" || last == "wpe") return true;
  const auto has = [&](std::string_view part) { return last.find(part) != std::string_view::npos; };
  return has("embed") && !has("embed_out") && !has("proj") && !has("norm");
}

std::string leave_out_hint(std::string_view module) {
  return fmt::format("leave it out: --ignore lm_head,{0} by command, {0} in ignore in a recipe", module);
}

}  // namespace spinor
