// Keys of config.json, or of an object in it, with their types checked. A key that is null counts as absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "spinor/base/json.h"

namespace spinor {

inline constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;  // products of two sizes stay inside int64_t

struct ConfigKeys {
  const Json& json;
  std::string subject;  // of errors: the path of config.json

  const Json* find(const char* key) const;
  // "<key> is <value>, not <expected>".
  [[noreturn]] void fail(const char* key, std::string_view expected) const;

  std::optional<int64_t> size(const char* key) const;  // 1 to kMaxSize
  int64_t integer(const char* key, int64_t absent) const;
  std::optional<double> number(const char* key) const;  // finite
  double positive(const char* key, double absent) const;
  double required(const char* key) const;  // positive; Error if absent
  bool flag(const char* key, bool absent) const;
  std::string text(const char* key, std::string absent) const;
};

}  // namespace spinor
