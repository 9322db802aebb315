#include "spinor/transform/config.h"

#include <algorithm>
#include <charconv>

#include "spinor/transform/early_vocabulary.h"

namespace spinor {
namespace {

// The name without a trailing _N, and N; the name itself and 0 where there is none: "R1_7" -> "R1", 7; "_3" -> "_3", 0.
std::pair<std::string, int64_t> split_counter(const std::string& name) {
  const size_t digits = name.find_last_not_of("0123456789") + 1;
  int64_t count = 0;
  const auto end = name.data() + name.size();
  if (digits < 2 || name[digits - 1] != '_' || std::from_chars(name.data() + digits, end, count).ec != std::errc{})
    return {name, 0};
  return {name.substr(0, digits - 1), count};
}

// The keys of a config.
struct Groups {
  std::vector<std::pair<std::string, TransformScheme>> config_groups = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("config_groups", config_groups, required);
  }
};

}  // namespace

void TransformConfig::merge(const TransformConfig& other) {
  const auto taken = [this](const std::string& name) {
    return std::ranges::find(config_groups, name, &std::pair<std::string, TransformScheme>::first) !=
           config_groups.end();
  };
  for (const auto& [name, scheme] : std::vector(other.config_groups)) {  // a copy: other may be *this
    auto [base, count] = split_counter(name);
    std::string unique = name;
    while (taken(unique)) unique = base + "_" + std::to_string(++count);
    config_groups.emplace_back(std::move(unique), scheme);
  }
}

void read_value(const Json& json, TransformConfig& out, const Place& place) {
  const bool early = json.is_object() && json.contains("transform_groups");
  if (early && json.contains("config_groups"))
    place.key("config_groups").fail(place.name + " has both config_groups and transform_groups", "keep one of them");
  if (early)
    out = read_transform_groups(json, place);
  else
    out.config_groups = read_fields<Groups>(json, place).config_groups;
}

void to_json(Json& json, const TransformConfig& config) {
  json = write_fields(Groups{config.config_groups});
}

TransformConfig transform_config_from_json(const Json& json, std::string_view subject) {
  return read_fields<TransformConfig>(json, {"transform_config", std::string(subject)});
}

Json to_json(const TransformConfig& config) {
  Json json;
  to_json(json, config);
  return json;
}

}  // namespace spinor
