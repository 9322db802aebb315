// The parts of tokenizer.json are objects with a "type", which says what else they hold.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <utility>

#include "spinor/base/fields.h"

namespace spinor::tokenizer {

// Reads one part and appends the steps it is made of.
template <class Step>
struct PartType {
  std::string_view name;
  void (*read)(const Json& json, const Place& place, std::vector<Step>& steps);
};

// The part's other keys as a struct with fields(). Error for unknown keys and wrong types.
template <HasFields T>
T read_part(const Json& json, const Place& place) {
  Json rest = json;
  rest.erase("type");
  return read_fields<T>(rest, place);
}

struct NoFields {
  template <class Visitor>
  void fields(Visitor&) {}
};

// Error, naming the type, for one that has no row.
template <class Step>
void read_steps(const Json& json, std::span<const PartType<Step>> types, const Place& place, std::vector<Step>& steps) {
  fields_detail::expect_object(json, place);
  const auto type = json.find("type");
  if (type == json.end()) place.fail(place.name + " has no type");
  std::string name, known;
  read_value(*type, name, place.key("type"));
  for (const PartType<Step>& row : types) {
    if (row.name == name) return row.read(json, place, steps);
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  place.fail(fmt::format("{}.type '{}' is not supported", place.name, name), "known: " + known);
}

// "Sequence": the items of the list `key`, one after the other.
template <class Step>
void read_sequence(const Json& json, const char* key, std::span<const PartType<Step>> types, const Place& place,
                   std::vector<Step>& steps) {
  const auto list = json.find(key);
  if (list == json.end()) place.fail(fmt::format("{} has no {}", place.name, key));
  const Place items = place.key(key);
  fields_detail::expect_list(*list, items);
  for (size_t i = 0; i < list->size(); ++i) read_steps((*list)[i], types, items.item(i), steps);
}

}  // namespace spinor::tokenizer
