// A struct lists its fields once; reading it from JSON or YAML, writing it, and naming its keys in errors follow.
//
//   struct SpinOptions {
//     std::vector<Spin> rotations = {Spin::R1, Spin::R2};
//     std::string transform_type;
//     std::optional<uint64_t> seed;
//     std::vector<std::string> ignore;
//     template <class Visitor>
//     void fields(Visitor& v) {
//       v("rotations", rotations);
//       v("transform_type", transform_type, required);
//       v("seed", seed);                     // an absent key leaves the value as it is; null is absent for an optional
//       v("ignore", one_or_many(ignore));    // "a" is read as ["a"]
//     }
//   };
//   const auto options = read_fields<SpinOptions>(document.value, {"SpinOptions", document.subject, &document.lines});
//
// Fields may be bool, int, int64_t, uint64_t, double, std::string, enums with enum_names(), structs with fields(), Json
// (as it is), and std::optional, std::vector and ordered maps std::vector<std::pair<std::string, T>> of these.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "spinor/base/json.h"

namespace spinor {

// Where a value stands in its document, for messages.
struct Place {
  std::string name;                                   // as the user calls it: "SpinQuantModifier.mappings"
  std::string subject;                                // "recipe.yaml"
  const std::map<std::string, int>* lines = nullptr;  // Document::lines; null: no line numbers
  std::string pointer = {};                           // JSON pointer of the value in the document

  Place key(std::string_view key) const;  // "SpinQuantModifier.mappings"
  Place item(size_t index) const;         // "SpinQuantModifier.rotations[0]"
  // Throws Error("recipe.yaml:4", ...): the line of this value, or of what surrounds it.
  [[noreturn]] void fail(const std::string& problem, const std::string& hint = {}) const;
};

// The row of an enum's table; a value may have several names, the first is the one that is written. Next to the enum:
// std::span<const EnumName<Spin>> enum_names(Spin);
template <class E>
struct EnumName {
  E value;
  std::string_view name;
};

template <class E>
concept NamedEnum = std::is_enum_v<E> && requires(E e) {
  { enum_names(e) } -> std::convertible_to<std::span<const EnumName<E>>>;
};

// The name of an enum value; empty if its table lacks it.
template <NamedEnum E>
std::string_view name_in_table(E value) {
  for (const EnumName<E>& row : std::span<const EnumName<E>>(enum_names(value)))
    if (row.value == value) return row.name;
  return {};
}

struct Required {};
inline constexpr Required required;

// A list of strings that may be written as one string.
struct OneOrMany {
  std::vector<std::string>& list;
};
inline OneOrMany one_or_many(std::vector<std::string>& list) {
  return {list};
}

namespace fields_detail {

// Visitors for the concept below and for the names of the fields.
struct Names {
  std::vector<std::string_view>& names;
  template <class T>
  void operator()(std::string_view name, T&&) {
    names.push_back(name);
  }
  template <class T>
  void operator()(std::string_view name, T&&, Required) {
    names.push_back(name);
  }
};

}  // namespace fields_detail

template <class T>
concept HasFields = requires(T& t, fields_detail::Names& v) { t.fields(v); };

// The keys of a struct, in their order.
template <HasFields T>
std::vector<std::string_view> field_names(T& value) {
  std::vector<std::string_view> names;
  fields_detail::Names visitor{names};
  value.fields(visitor);
  return names;
}

// The readers of one value each; Error at `place` when the type is another than expected. No conversions: true is not
// 1, "1" is not 1, 1.0 is not an integer; an integer is a double.
void read_value(const Json& json, bool& out, const Place& place);
void read_value(const Json& json, int& out, const Place& place);
void read_value(const Json& json, int64_t& out, const Place& place);
void read_value(const Json& json, uint64_t& out, const Place& place);
void read_value(const Json& json, double& out, const Place& place);
void read_value(const Json& json, std::string& out, const Place& place);
void read_value(const Json& json, Json& out, const Place& place);
void read_value(const Json& json, OneOrMany out, const Place& place);

namespace fields_detail {

void expect_object(const Json& json, const Place& place);
void expect_list(const Json& json, const Place& place);
void refuse_unknown_keys(const Json& json, std::span<const std::string_view> known, const Place& place);
[[noreturn]] void refuse_name(const Json& json, std::span<const std::string_view> known, const Place& place);

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
void read_any(const Json& json, T& out, const Place& place);

template <NamedEnum E>
void read_enum(const Json& json, E& out, const Place& place) {
  std::vector<std::string_view> names;
  for (const EnumName<E>& row : std::span<const EnumName<E>>(enum_names(out))) {
    if (json.is_string() && json.get_ref<const std::string&>() == row.name) {
      out = row.value;
      return;
    }
    if (name_in_table(row.value) == row.name) names.push_back(row.name);
  }
  refuse_name(json, names, place);
}

template <class T>
void read_items(const Json& json, std::vector<T>& out, const Place& place) {
  expect_list(json, place);
  out.clear();
  for (size_t i = 0; i < json.size(); ++i) {
    T item{};
    read_any(json[i], item, place.item(i));
    out.push_back(std::move(item));
  }
}

template <class T>
void read_items(const Json& json, std::vector<std::pair<std::string, T>>& out, const Place& place) {
  expect_object(json, place);
  out.clear();
  for (const auto& [key, value] : json.items()) read_any(value, out.emplace_back(key, T{}).second, place.key(key));
}

// Fills each field whose key is there.
struct Reader {
  const Json& json;
  const Place& place;

  template <class T>
  void operator()(std::string_view name, T&& out) {
    if (const auto found = json.find(name); found != json.end()) read_any(*found, out, place.key(name));
  }
  template <class T>
  void operator()(std::string_view name, T&& out, Required) {
    if (!json.contains(name)) place.fail("missing key '" + std::string(name) + "' in " + place.name);
    (*this)(name, out);
  }
};

template <class T>
void read_any(const Json& json, T& out, const Place& place) {
  if constexpr (IsOptional<T>::value) {
    out.reset();
    if (!json.is_null()) read_any(json, out.emplace(), place);
  } else if constexpr (HasFields<T>) {
    expect_object(json, place);
    refuse_unknown_keys(json, field_names(out), place);
    Reader reader{json, place};
    out.fields(reader);
  } else if constexpr (NamedEnum<T>) {
    read_enum(json, out, place);
  } else if constexpr (requires { read_items(json, out, place); }) {
    read_items(json, out, place);
  } else {
    read_value(json, out, place);
  }
}

template <class T>
Json write_any(T& value);

struct Writer {
  Json json = Json::object();

  template <class T>
  void operator()(std::string_view name, T&& value) {
    json[std::string(name)] = write_any(value);
  }
  template <class T>
  void operator()(std::string_view name, T&& value, Required) {
    (*this)(name, value);
  }
};

template <class T>
Json write_items(std::vector<T>& items) {
  Json list = Json::array();
  for (auto&& item : items) {
    T copy = item;  // std::vector<bool> has no references
    list.push_back(write_any(copy));
  }
  return list;
}

template <class T>
Json write_items(std::vector<std::pair<std::string, T>>& items) {
  Json map = Json::object();
  for (auto& [key, value] : items) map[key] = write_any(value);
  return map;
}

template <class T>
Json write_any(T& value) {
  if constexpr (IsOptional<T>::value) {
    return value ? write_any(*value) : Json(nullptr);
  } else if constexpr (HasFields<T>) {
    Writer writer;
    value.fields(writer);
    return std::move(writer.json);
  } else if constexpr (NamedEnum<T>) {
    return name_in_table(value);
  } else if constexpr (std::is_same_v<T, OneOrMany>) {
    return value.list;
  } else if constexpr (requires { write_items(value); }) {
    return write_items(value);
  } else {
    return value;
  }
}

}  // namespace fields_detail

// Fills a T from an object. Error for an unknown key (with the nearest known one), a value of another type, a missing
// required key.
template <class T>
T read_fields(const Json& json, const Place& place) {
  T out{};
  fields_detail::read_any(json, out, place);
  return out;
}

// All fields, always, in their order; an absent optional is null.
template <class T>
Json write_fields(T value) {
  return fields_detail::write_any(value);
}

}  // namespace spinor
