#include "spinor/transform/config.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "spinor/base/nearest.h"

namespace spinor {
namespace {

constexpr EnumName<TransformLocation> kLocations[] = {
    {TransformLocation::input, "input"},     {TransformLocation::weight_input, "weight_input"},
    {TransformLocation::output, "output"},   {TransformLocation::weight_output, "weight_output"},
    {TransformLocation::k_cache, "k_cache"}, {TransformLocation::q_attn, "q_attn"},
};

// Every dtype of torch 2.13. They are all accepted here, because compressed-tensors does; which can be computed with is
// decided where it is computed.
constexpr auto kDtypes = std::to_array<std::string_view>({
    "float32",        "float64",
    "float16",        "bfloat16",
    "float8_e4m3fn",  "float8_e4m3fnuz",
    "float8_e5m2",    "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2",
    "complex32",      "complex64",
    "complex128",     "bool",
    "int1",           "int2",
    "int3",           "int4",
    "int5",           "int6",
    "int7",           "int8",
    "int16",          "int32",
    "int64",          "uint1",
    "uint2",          "uint3",
    "uint4",          "uint5",
    "uint6",          "uint7",
    "uint8",          "uint16",
    "uint32",         "uint64",
    "qint8",          "qint32",
    "quint8",         "quint4x2",
    "quint2x4",       "bits8",
    "bits16",         "bits1x8",
    "bits2x4",        "bits4x2",
});

struct Alias {
  std::string_view name, dtype;
};
constexpr Alias kAliases[] = {
    {"float", "float32"},   {"double", "float64"},     {"half", "float16"}, {"short", "int16"},
    {"int", "int32"},       {"long", "int64"},         {"bit", "uint1"},    {"cfloat", "complex64"},
    {"chalf", "complex32"}, {"cdouble", "complex128"},
};

// The name without a trailing _N, and N; the name itself and 0 where there is none: "R1_7" -> "R1", 7; "_3" -> "_3", 0.
std::pair<std::string, int64_t> split_counter(const std::string& name) {
  const size_t digits = name.find_last_not_of("0123456789") + 1;
  int64_t count = 0;
  const auto end = name.data() + name.size();
  if (digits < 2 || name[digits - 1] != '_' || std::from_chars(name.data() + digits, end, count).ec != std::errc{})
    return {name, 0};
  return {name.substr(0, digits - 1), count};
}

}  // namespace

std::span<const EnumName<TransformLocation>> enum_names(TransformLocation) {
  return kLocations;
}

std::string_view name_of(TransformLocation location) {
  return name_in_table(location);
}

bool is_online(TransformLocation location) {
  return location != TransformLocation::weight_input && location != TransformLocation::weight_output;
}

void read_value(const Json& json, TorchDtype out, const Place& place) {
  std::string text;
  read_value(json, text, place);
  std::string_view name = text;
  if (name.starts_with("torch.")) name.remove_prefix(6);
  for (const Alias& alias : kAliases)
    if (alias.name == name) name = alias.dtype;
  if (std::ranges::find(kDtypes, name) == kDtypes.end()) {
    const std::string_view nearest = nearest_name(name, kDtypes);
    place.fail(place.name + ": torch has no dtype '" + text + "'",
               nearest.empty() ? "use float64 or float32" : "did you mean '" + std::string(nearest) + "'?");
  }
  out.name = "torch." + std::string(name);
}

void to_json(Json& json, const TorchDtype& dtype) {
  json = dtype.name;
}

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

TransformConfig transform_config_from_json(const Json& json, std::string_view subject) {
  return read_fields<TransformConfig>(json, {"transform_config", std::string(subject)});
}

Json to_json(const TransformConfig& config) {
  return write_fields(config);
}

}  // namespace spinor
