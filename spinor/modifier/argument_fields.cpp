#include "spinor/modifier/argument_fields.h"

#include <algorithm>
#include <vector>

#include "spinor/base/nearest.h"
#include "spinor/transform/automatic_type.h"
#include "spinor/transform/factory.h"

namespace spinor {
namespace {

constexpr EnumName<Compat> kCompats[] = {{Compat::llm_compressor, "llm-compressor"}};

}  // namespace

std::span<const EnumName<Compat>> enum_names(Compat) {
  return kCompats;
}

void read_value(const Json& json, PrecisionName out, const Place& place) {
  std::string dtype;
  read_value(json, TorchDtype{dtype}, place);
  if (dtype != "torch.float64" && dtype != "torch.float32") {
    place.fail(place.name + ": weights cannot be transformed in " + dtype, "use float64 or float32");
  }
  out.precision = dtype == "torch.float64" ? Precision::float64 : Precision::float32;
}

void to_json(Json& json, const PrecisionName& name) {
  json = name.precision == Precision::float64 ? "torch.float64" : "torch.float32";
}

void check_transform_type(const std::string& type, const Place& place) {
  if (is_automatic(type)) return;
  std::vector<std::string_view> names;
  for (const TransformType& row : transform_types()) names.push_back(row.name);
  if (std::ranges::find(names, type) == names.end()) {
    place.fail("no transform type is called '" + type + "'", suggest_name(type, names));
  }
}

void check_not_learnable(const TransformConfig& config, const Place& place) {
  for (const auto& [group, scheme] : config.config_groups)
    if (scheme.requires_grad)
      place.key("config_groups").key(group).fail("learnable is not supported right now", "set requires_grad: false");
}

}  // namespace spinor
