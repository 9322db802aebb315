#include "spinor/quant/config.h"

#include <algorithm>
#include <array>
#include <set>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/quant/presets.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {
namespace {

constexpr auto kFormatNames =
    std::to_array<std::string_view>({"dense", "pack-quantized", "int-quantized", "float-quantized", "naive-quantized",
                                     "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized"});
// compressed-tensors has them too.
constexpr auto kNotSupported =
    std::to_array<std::string_view>({"mxfp6-pack-quantized", "marlin-24", "sparse-bitmask", "sparse-24-bitmask"});

void check_name(const std::string& format, const Place& place) {
  if (std::ranges::find(kFormatNames, format) != kFormatNames.end()) return;
  if (std::ranges::find(kNotSupported, format) != kNotSupported.end())
    place.fail("the format " + format + " is not supported yet");
  if (format == "mixed-precision")
    place.fail("mixed-precision is no format of one group", "leave format out, or give the group its own");
  place.fail("no format is called '" + format + "'", suggest_name(format, kFormatNames));
}

// Why a format does not hold such weights, whatever their shape; empty if it does.
std::string objection(const QuantizationArgs& weights, const std::string& format) {
  if (weights.dynamic != QuantizationDynamic::no) return "weights are stored, so they cannot be dynamic";
  const DTypeInfo* scale = weights.scale_dtype ? find_dtype(*weights.scale_dtype) : nullptr;
  WeightLayout layout{.args = weights, .format = format, .rows = 1, .cols = weights.group_size.value_or(1)};
  if (layout.cols < 1) layout.cols = 1;
  if (scale && scale->dtype != DType::F64 && scale->editable) layout.dtype = scale->dtype;
  try {
    stored_tensors(layout);
  } catch (const Error& error) {
    return error.problem();
  }
  return {};
}

void check_holds(const QuantizationArgs& weights, const std::string& format, const Place& place) {
  const std::string problem = objection(weights, format);
  if (problem.empty()) return;
  std::string others;
  for (const std::string_view other : kFormatNames)
    if (other != "dense" && objection(weights, std::string(other)).empty())
      others += (others.empty() ? "use " : " or ") + std::string(other);
  place.fail(problem, others);
}

bool is_float(const QuantizationArgs& args, int bits, int64_t group_size) {
  return args.type == QuantizationType::floating && args.num_bits == bits && args.group_size == group_size;
}

std::string inferred_format(const QuantizationScheme& scheme) {
  if (!scheme.weights) return "dense";
  const QuantizationArgs& weights = *scheme.weights;
  const auto& inputs = scheme.input_activations;
  const bool integer = weights.type == QuantizationType::integer;
  if (is_float(weights, 4, 32)) return "mxfp4-pack-quantized";
  if (is_float(weights, 6, 32)) return "mxfp6-pack-quantized";
  if (is_float(weights, 8, 32) && weights.scale_dtype == "torch.uint8") return "mxfp8-quantized";
  if (is_float(weights, 4, 16)) return "nvfp4-pack-quantized";
  if (integer && inputs) return "int-quantized";
  if (integer) return "pack-quantized";
  return inputs ? "float-quantized" : "naive-quantized";
}

// Checkpoints of older releases may be sparse too.
void refuse_sparse(const Json& json, const Place& place) {
  const auto sparsity = json.find("sparsity_config");
  if (sparsity == json.end() || !sparsity->is_object() || sparsity->empty()) return;
  const Json format = sparsity->value("format", Json());
  if (format != "dense")
    place.key("sparsity_config")
        .fail("the weights are compressed as sparse (" + format.dump() + ")", "spinor reads dense");
}

}  // namespace

std::string format_of(const QuantizationScheme& scheme, const Place& place) {
  const std::string inferred = inferred_format(scheme), format = scheme.format.value_or(inferred);
  check_name(format, place.key("format"));
  if (!scheme.weights) return "dense";
  check_name(inferred, place);  // what dense weights are rounded to
  check_holds(*scheme.weights, format == "dense" ? inferred : format, place);
  return format;
}

void read_value(const Json& json, GroupsField field, const Place& place) {
  fields_detail::expect_object(json, place);
  auto& out = field.groups;
  out.clear();
  for (const auto& [name, value] : json.items()) {
    const Place here = place.key(name);
    if (value.is_array() || value.is_string()) {
      std::vector<std::string> targets;
      read_value(value, one_or_many(targets), here);
      out.emplace_back(name, preset(name, std::move(targets), here));
    } else {
      out.emplace_back(name, read_fields<QuantizationScheme>(value, here));
      if (!value.contains("targets")) here.fail("missing key 'targets' in " + here.name);
    }
    check_scheme(out.back().second, here);
    if (const auto& format = out.back().second.format) check_name(*format, here.key("format"));
  }
}

void to_json(Json& json, const GroupsField& field) {
  json = Json::object();
  for (const auto& [name, scheme] : field.groups) json[name] = write_fields(scheme);
}

QuantizationConfig quantization_config_from_json(const Json& json, std::string_view subject) {
  const Place place{"quantization_config", std::string(subject)};
  fields_detail::expect_object(json, place);
  refuse_sparse(json, place);
  QuantizationConfig config;
  const auto present = [&](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && !found->is_null();
  };
  if (present("config_groups"))
    read_value(json["config_groups"], GroupsField{config.config_groups}, place.key("config_groups"));
  if (present("kv_cache_scheme"))
    read_value(json["kv_cache_scheme"], ArgsField{config.kv_cache_scheme}, place.key("kv_cache_scheme"));
  if (present("ignore")) read_value(json["ignore"], one_or_many(config.ignore), place.key("ignore"));
  if (present("format")) read_value(json["format"], config.format, place.key("format"));
  // "mixed-precision" says that the groups do, older releases' "fakequant" says nothing.
  if (config.format == "mixed-precision" || config.format == "fakequant") config.format.clear();
  for (auto& [name, scheme] : config.config_groups)
    if (!scheme.format && !config.format.empty()) scheme.format = config.format;
  return config;
}

Json to_json(const QuantizationConfig& config, const Json& transform_config) {
  Json groups = Json::object();
  std::set<std::string> formats;
  for (const auto& [name, scheme] : config.config_groups) {
    groups[name] = write_fields(scheme);
    if (scheme.format && *scheme.format != "dense") formats.insert(*scheme.format);
  }
  const std::string format = formats.empty() ? "dense" : formats.size() > 1 ? "mixed-precision" : *formats.begin();
  return {{"config_groups", groups},
          {"format", format},
          {"global_compression_ratio", nullptr},
          {"ignore", config.ignore},
          {"kv_cache_scheme", config.kv_cache_scheme ? to_json(*config.kv_cache_scheme) : Json()},
          {"moe_sparsity_config", nullptr},
          {"quant_method", "compressed-tensors"},
          {"quantization_status", "compressed"},
          {"sparsity_config", Json::object()},
          {"transform_config", transform_config},
          {"version", kCompressedTensors}};
}

}  // namespace spinor
