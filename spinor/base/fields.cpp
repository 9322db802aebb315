#include "spinor/base/fields.h"

#include <limits>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"

namespace spinor {
namespace {

constexpr size_t kShown = 60;  // characters of a wrong value in a message

[[noreturn]] void refuse(const Json& json, const std::string& expected, const Place& place) {
  std::string value = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (value.size() > kShown) value = value.substr(0, kShown) + "...";
  place.fail(place.name + " must be " + expected + ", not " + value);
}

}  // namespace

Place Place::key(std::string_view key) const {
  return {name.empty() ? std::string(key) : name + "." + std::string(key), subject, lines, pointer + pointer_step(key)};
}

Place Place::item(size_t index) const {
  return {name + "[" + std::to_string(index) + "]", subject, lines, pointer + "/" + std::to_string(index)};
}

void Place::fail(const std::string& problem, const std::string& hint) const {
  std::string where = subject;
  for (std::string at = pointer; lines; at.erase(at.rfind('/'))) {
    if (const auto found = lines->find(at); found != lines->end()) {
      where += ":" + std::to_string(found->second);
      break;
    }
    if (at.empty()) break;
  }
  throw Error(where, problem, hint);
}

void read_value(const Json& json, bool& out, const Place& place) {
  if (!json.is_boolean()) refuse(json, "true or false", place);
  out = json.get<bool>();
}

void read_value(const Json& json, int64_t& out, const Place& place) {
  if (!json.is_number_integer()) refuse(json, "an integer", place);
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()})
    refuse(json, "less than 2^63", place);
  out = json.get<int64_t>();
}

void read_value(const Json& json, int& out, const Place& place) {
  int64_t wide = 0;
  read_value(json, wide, place);
  out = static_cast<int>(wide);
  if (out != wide) refuse(json, "less than 2^31", place);
}

void read_value(const Json& json, uint64_t& out, const Place& place) {
  if (!json.is_number_integer() || (!json.is_number_unsigned() && json.get<int64_t>() < 0))
    refuse(json, "an integer from 0 on", place);
  out = json.get<uint64_t>();
}

void read_value(const Json& json, double& out, const Place& place) {
  if (!json.is_number()) refuse(json, "a number", place);
  out = json.get<double>();
}

void read_value(const Json& json, std::string& out, const Place& place) {
  if (!json.is_string()) refuse(json, "a string", place);
  out = json.get<std::string>();
}

void read_value(const Json& json, Json& out, const Place&) {
  out = json;
}

void read_value(const Json& json, OneOrMany out, const Place& place) {
  if (json.is_string()) {
    out.list = {json.get<std::string>()};
    return;
  }
  if (!json.is_array()) refuse(json, "a string or a list of strings", place);
  fields_detail::read_items(json, out.list, place);
}

namespace fields_detail {

void expect_object(const Json& json, const Place& place) {
  if (!json.is_object()) refuse(json, "a map", place);
}

void expect_list(const Json& json, const Place& place) {
  if (!json.is_array()) refuse(json, "a list", place);
}

void refuse_unknown_keys(const Json& json, std::span<const std::string_view> known, const Place& place) {
  for (const auto& [key, value] : json.items()) {
    bool found = false;
    for (const std::string_view name : known) found = found || name == key;
    if (!found) place.key(key).fail("unknown key '" + key + "' in " + place.name, suggest_name(key, known));
  }
}

void refuse_name(const Json& json, std::span<const std::string_view> known, const Place& place) {
  std::string list;
  for (const std::string_view name : known) list += (list.empty() ? "" : ", ") + std::string(name);
  if (!json.is_string()) refuse(json, "one of " + list, place);
  const std::string& name = json.get_ref<const std::string&>();
  const std::string_view nearest = nearest_name(name, known);
  place.fail(place.name + " must be one of " + list + ", not '" + name + "'",
             nearest.empty() ? "" : "did you mean '" + std::string(nearest) + "'?");
}

}  // namespace fields_detail

}  // namespace spinor
