#include "spinor/base/yaml_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// YAML 1.1 reads these words, in any case, as something else than text.
constexpr std::array<std::string_view, 9> kReserved = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};

// Text that needs no quotes anywhere: words as random-hadamard and torch.float64.
bool is_plain(const std::string& text) {
  const auto word = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; };
  if (text.empty() || !(std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_')) return false;
  if (!std::ranges::all_of(text, word)) return false;
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::ranges::find(kReserved, lower) == kReserved.end();
}

std::string quoted(const std::string& text) {
  if (is_plain(text)) return text;
  const bool printable = std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable) return Json(text).dump();
  std::string result = "'";
  for (const char c : text) result.append(c == '\'' ? 2 : 1, c);
  result += '\'';
  return result;
}

// A number with a dot: YAML 1.1 reads 1e-10 as text.
std::string real(double value) {
  if (!std::isfinite(value)) throw Error("yaml", fmt::format("{} cannot be written", value));
  std::string text = fmt::format("{}", value);
  if (text.find('.') != std::string::npos) return text;
  const size_t exponent = std::min(text.find('e'), text.size());
  return text.insert(exponent, ".0");
}

std::string in_one_line(const Json& json) {
  if (json.is_string()) return quoted(json.get<std::string>());
  if (json.is_number_float()) return real(json.get<double>());
  if (!json.is_structured()) return json.dump();
  std::string items;
  for (const auto& [key, value] : json.items()) {
    if (!items.empty()) items += ", ";
    if (json.is_object()) items += quoted(key) + ": ";
    items += in_one_line(value);
  }
  return fmt::format(fmt::runtime(json.is_object() ? "{{{}}}" : "[{}]"), items);
}

bool is_innermost(const Json& json) {
  return !json.is_structured() || std::ranges::none_of(json, [](const Json& item) { return item.is_structured(); });
}

std::string block(const Json& json, size_t indent);

std::string list_block(const Json& list, size_t indent) {
  std::string text;
  for (const Json& item : list) {
    // The dash stands in the margin of the item's first line.
    const bool nested = item.is_object() && !item.empty();
    text += fmt::format("{:{}}- {}", "", indent,
                        nested ? block(item, indent + 2).substr(indent + 2) : in_one_line(item) + '\n');
  }
  return text;
}

// What follows a key: in the same line, or below it.
std::string value_block(const Json& value, size_t indent) {
  if (value.is_array() && !is_innermost(value)) return fmt::format("\n{}", list_block(value, indent));
  if (value.is_object() && !value.empty()) return fmt::format("\n{}", block(value, indent + 2));
  return fmt::format(" {}\n", in_one_line(value));
}

std::string block(const Json& map, size_t indent) {
  std::string text;
  for (const auto& [key, value] : map.items())
    text += fmt::format("{:{}}{}:{}", "", indent, quoted(key), value_block(value, indent));
  return text;
}

}  // namespace

std::string to_yaml(const Json& map) {
  return map.empty() ? "{}\n" : block(map, 0);
}

}  // namespace spinor
