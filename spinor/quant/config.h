// QuantizationConfig: what config.json's quantization_config says of a checkpoint.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/quant/scheme.h"

namespace spinor {

// The release whose layout of files and keys spinor writes.
inline constexpr const char* kCompressedTensors = "0.20.0";

struct QuantizationConfig {
  std::vector<std::pair<std::string, QuantizationScheme>> config_groups = {};
  std::optional<QuantizationArgs> kv_cache_scheme = {};
  std::vector<std::string> ignore = {};
  std::string format = {};  // of groups that name none; empty: inferred
};

// Reads config.json's block, minimal or complete; a group may be a preset's name with a list of targets. Keys at the
// top that it does not know are ignored, as compressed-tensors does; those of a scheme are Errors.
QuantizationConfig quantization_config_from_json(const Json& json, std::string_view subject);

// The groups of a recipe or of config.json: schemes, or preset names with targets.
struct GroupsField {
  std::vector<std::pair<std::string, QuantizationScheme>>& groups;
};
void read_value(const Json& json, GroupsField out, const Place& place);
void to_json(Json& json, const GroupsField& field);

// The complete block as compressed-tensors 0.20 writes it. Every scheme has a format.
Json to_json(const QuantizationConfig& config, const Json& transform_config);

// Which format holds such a scheme: the one it names, else compressed-tensors' choice (mxfp4, mxfp8, nvfp4,
// int-quantized, pack-quantized, float-quantized, naive-quantized, in this order). "dense" for a scheme without
// weights. Error at `place` for a format that spinor does not write, and for weights that it does not hold, with those
// that do.
std::string format_of(const QuantizationScheme& scheme, const Place& place);

}  // namespace spinor
