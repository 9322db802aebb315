#include "spinor/base/torch_dtype.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "spinor/base/nearest.h"

namespace spinor {
namespace {

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

}  // namespace

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

void read_value(const Json& json, OptionalTorchDtype out, const Place& place) {
  out.name.reset();
  if (!json.is_null()) read_value(json, TorchDtype{out.name.emplace()}, place);
}

void to_json(Json& json, const OptionalTorchDtype& dtype) {
  json = dtype.name ? Json(*dtype.name) : Json();
}

}  // namespace spinor
