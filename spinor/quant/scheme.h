// QuantizationArgs, QuantizationScheme and QuantizationConfig: the vocabulary of config.json's quantization_config and of
// recipes, as compressed-tensors has it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/base/fields.h"

namespace spinor {

enum class QuantizationType { integer, floating };  // "int", "float"
enum class QuantizationStrategy { tensor, channel, group, block, token, tensor_group, attn_head };
enum class QuantizationDynamic { no, yes, local };  // false, true, "local": only the scales inside a tensor
enum class ActOrder { weight, fixed };              // "weight", "static"

std::span<const EnumName<QuantizationType>> enum_names(QuantizationType);
std::span<const EnumName<QuantizationStrategy>> enum_names(QuantizationStrategy);
std::span<const EnumName<ActOrder>> enum_names(ActOrder);

// How one kind of tensor (weights, input activations, ...) is quantized. After reading, `strategy` is always set.
struct QuantizationArgs {
  int num_bits = 8;
  QuantizationType type = QuantizationType::integer;
  bool symmetric = true;
  std::optional<int64_t> group_size = {};
  std::optional<QuantizationStrategy> strategy = {};
  std::optional<std::pair<int64_t, int64_t>> block_structure = {};  // rows, columns
  QuantizationDynamic dynamic = QuantizationDynamic::no;
  std::optional<ActOrder> actorder = {};
  std::optional<std::string> scale_dtype = {}, zp_dtype = {};  // "torch.uint8"
  std::optional<std::string> observer = {};                    // "memoryless_minmax", "mse", ...
  Json observer_kwargs = Json::object();
};

struct QuantizationScheme {
  std::vector<std::string> targets;
  std::optional<QuantizationArgs> weights = {}, input_activations = {}, output_activations = {};
  std::optional<std::string> format = {};  // "pack-quantized"; null: inferred
};

struct QuantizationConfig {
  std::vector<std::pair<std::string, QuantizationScheme>> config_groups = {};
  std::optional<QuantizationArgs> kv_cache_scheme = {};
  std::vector<std::string> ignore = {};
  std::optional<std::string> format = {};
};

}  // namespace spinor
