#include "spinor/family/config_keys.h"

#include <fmt/format.h>

#include <cmath>

#include "spinor/base/error.h"

namespace spinor {

const Json* ConfigKeys::find(const char* key) const {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

void ConfigKeys::fail(const char* key, std::string_view expected) const {
  throw Error(subject, fmt::format("{} is {}, not {}", key, json.at(key).dump(), expected));
}

std::optional<int64_t> ConfigKeys::size(const char* key) const {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  const int64_t size = value->is_number_integer() ? value->get<int64_t>() : 0;
  if (size < 1 || size > kMaxSize) fail(key, fmt::format("an integer from 1 to {}", kMaxSize));
  return size;
}

int64_t ConfigKeys::integer(const char* key, int64_t absent) const {
  const Json* value = find(key);
  if (value && !value->is_number_integer()) fail(key, "an integer");
  return value ? value->get<int64_t>() : absent;
}

std::optional<double> ConfigKeys::number(const char* key) const {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->get<double>())) fail(key, "a number");
  return value->get<double>();
}

double ConfigKeys::positive(const char* key, double absent) const {
  const double value = number(key).value_or(absent);
  if (value <= 0) fail(key, "a positive number");
  return value;
}

double ConfigKeys::required(const char* key) const {
  if (!find(key)) throw Error(subject, fmt::format("has no {}", key));
  return positive(key, 1);
}

bool ConfigKeys::flag(const char* key, bool absent) const {
  const Json* value = find(key);
  if (value && !value->is_boolean()) fail(key, "true or false");
  return value ? value->get<bool>() : absent;
}

std::string ConfigKeys::text(const char* key, std::string absent) const {
  const Json* value = find(key);
  if (value && !value->is_string()) fail(key, "a string");
  return value ? value->get<std::string>() : absent;
}

}  // namespace spinor
