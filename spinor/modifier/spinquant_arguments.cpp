#include "spinor/modifier/spinquant_arguments.h"

#include <algorithm>

#include "spinor/base/nearest.h"
#include "spinor/transform/factory.h"

namespace spinor {
namespace {

constexpr EnumName<Compat> kCompats[] = {{Compat::llm_compressor, "llm-compressor"}};

void check_transform_type(const std::string& type, const Place& place) {
  std::vector<std::string_view> names;
  for (const TransformType& row : transform_types()) names.push_back(row.name);
  if (std::ranges::find(names, type) == names.end()) {
    place.fail("no transform type is called '" + type + "'", suggest_name(type, names));
  }
}

void check_scheme(const TransformScheme& scheme, const Place& place) {
  if (scheme.requires_grad) place.fail("learnable is not supported right now", "set requires_grad: false");
  for (const TransformArgs& args : scheme.apply) {
    if (!is_online(args.location)) continue;
    place.fail("a transform at " + std::string(name_of(args.location)) +
                   " acts while the model runs, which is not supported yet",
               "use weight_input and weight_output");
  }
}

}  // namespace

std::span<const EnumName<Compat>> enum_names(Compat) {
  return kCompats;
}

void read_value(const Json& json, SpinList out, const Place& place) {
  std::vector<std::string> names = read_fields<std::vector<std::string>>(json, place);
  out.list.clear();
  for (size_t i = 0; i < names.size(); ++i) {
    for (char& c : names[i]) c = c == 'r' ? 'R' : c;
    out.list.push_back(read_fields<Spin>(names[i], place.item(i)));
  }
}

void to_json(Json& json, const SpinList& spins) {
  json = Json::array();
  for (const Spin spin : spins.list) json.push_back(name_in_table(spin));
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

void check_arguments(const SpinQuantArguments& arguments, const Place& place) {
  for (const Spin spin : arguments.rotations) {
    if (spin != Spin::R3 && spin != Spin::R4) continue;
    place.key("rotations")
        .fail(std::string(name_in_table(spin)) + " acts while the model runs, which is not supported yet",
              "use R1 and R2");
  }
  check_transform_type(arguments.transform_type, place.key("transform_type"));
  if (arguments.learnable) place.key("learnable").fail("learnable is not supported right now");
  if (!arguments.transform_config) return;
  const Place groups = place.key("transform_config").key("config_groups");
  for (const auto& [group, scheme] : arguments.transform_config->config_groups) check_scheme(scheme, groups.key(group));
}

}  // namespace spinor
