#include "spinor/plan/scheme_kinds.h"

#include <algorithm>
#include <initializer_list>

namespace spinor {
namespace {

using enum QuantizationStrategy;

bool has_strategy(const QuantizationArgs& args, std::initializer_list<QuantizationStrategy> strategies) {
  return args.strategy && std::ranges::find(strategies, *args.strategy) != strategies.end();
}

bool is_integer(const QuantizationArgs& args, int bits) {
  return args.type == QuantizationType::integer && args.num_bits == bits;
}

bool is_float(const QuantizationArgs& args, int bits) {
  return args.type == QuantizationType::floating && args.num_bits == bits;
}

bool is_dynamic(const QuantizationArgs& args) {
  return args.dynamic != QuantizationDynamic::no;
}

bool are_nvfp4(const QuantizationArgs& args) {
  return is_float(args, 4) && args.strategy == tensor_group && args.group_size == 16 && args.symmetric;
}

bool are_mxfp4(const QuantizationArgs& args) {
  return is_float(args, 4) && args.strategy == group && args.group_size == 32 && args.symmetric;
}

bool are_mxfp8(const QuantizationArgs& args) {
  return is_float(args, 8) && args.strategy == group && args.group_size == 32 && args.symmetric &&
         args.scale_dtype == "torch.uint8";
}

bool is_packed(const QuantizationScheme& scheme) {
  return scheme.format == "pack-quantized" && has_strategy(*scheme.weights, {channel, group}) &&
         scheme.weights->type == QuantizationType::integer && scheme.weights->num_bits >= 2;
}

}  // namespace

bool is_packed_a16(const QuantizationScheme& scheme) {
  return is_packed(scheme) && !scheme.input_activations;
}

bool is_packed_int(const QuantizationScheme& scheme) {
  if (!is_packed(scheme) || !scheme.input_activations) return false;
  const QuantizationArgs& inputs = *scheme.input_activations;
  return (is_integer(inputs, 4) || is_integer(inputs, 8)) && inputs.symmetric && is_dynamic(inputs) &&
         has_strategy(inputs, {token, group});
}

bool is_packed_fp8(const QuantizationScheme& scheme) {
  if (!is_packed(scheme) || !scheme.input_activations) return false;
  const QuantizationArgs &weights = *scheme.weights, &inputs = *scheme.input_activations;
  return weights.num_bits == 4 && weights.symmetric && weights.strategy == group && weights.group_size == 128 &&
         is_float(inputs, 8) && inputs.symmetric && is_dynamic(inputs) && inputs.strategy == token;
}

bool is_w4a8_int(const QuantizationScheme& scheme) {
  if (scheme.format != "int-quantized" || !scheme.input_activations) return false;
  const QuantizationArgs &weights = *scheme.weights, &inputs = *scheme.input_activations;
  return is_integer(weights, 4) && weights.symmetric && has_strategy(weights, {channel, group}) &&
         is_integer(inputs, 8) && is_dynamic(inputs) && inputs.strategy == token;
}

bool is_w8a8_int(const QuantizationScheme& scheme) {
  if (scheme.format != "int-quantized" || !scheme.input_activations) return false;
  const QuantizationArgs &weights = *scheme.weights, &inputs = *scheme.input_activations;
  return is_integer(weights, 8) && weights.symmetric && has_strategy(weights, {channel, tensor}) &&
         is_integer(inputs, 8) && inputs.strategy == (is_dynamic(inputs) ? token : tensor);
}

bool is_w8a16_fp8(const QuantizationScheme& scheme) {
  return !scheme.input_activations && is_float(*scheme.weights, 8) && scheme.weights->symmetric &&
         has_strategy(*scheme.weights, {tensor, channel, block});
}

// Blocks have inputs in groups as wide as the blocks, found while the model runs.
bool is_w8a8_fp8(const QuantizationScheme& scheme) {
  if (scheme.format != "float-quantized" || !scheme.input_activations) return false;
  const QuantizationArgs &weights = *scheme.weights, &inputs = *scheme.input_activations;
  if (!is_float(weights, 8) || !weights.symmetric || !is_float(inputs, 8) || !inputs.symmetric) return false;
  if (weights.strategy == block)
    return is_dynamic(inputs) && inputs.strategy == group && inputs.group_size == weights.block_structure->second;
  return has_strategy(weights, {tensor, channel}) && inputs.strategy == (is_dynamic(inputs) ? token : tensor);
}

bool is_nvfp4(const QuantizationScheme& scheme) {
  return are_nvfp4(*scheme.weights) && (!scheme.input_activations || are_nvfp4(*scheme.input_activations));
}

bool is_mxfp4(const QuantizationScheme& scheme) {
  if (!are_mxfp4(*scheme.weights)) return false;
  if (!scheme.input_activations || are_mxfp4(*scheme.input_activations)) return true;
  const QuantizationArgs& inputs = *scheme.input_activations;
  return is_float(inputs, 8) && inputs.symmetric && is_dynamic(inputs) && has_strategy(inputs, {token, group});
}

bool is_mxfp8(const QuantizationScheme& scheme) {
  return are_mxfp8(*scheme.weights) && (!scheme.input_activations || are_mxfp8(*scheme.input_activations));
}

bool is_static_a8o8_int(const QuantizationScheme& scheme) {
  const auto static_int8 = [](const std::optional<QuantizationArgs>& args) {
    return args && is_integer(*args, 8) && args->symmetric && args->strategy == tensor && !is_dynamic(*args);
  };
  const QuantizationArgs& weights = *scheme.weights;
  const bool stored = scheme.format == "pack-quantized" || scheme.format == "int-quantized";
  return stored && weights.type == QuantizationType::integer && weights.symmetric &&
         has_strategy(weights, {channel, group}) &&
         (weights.num_bits == 2 || weights.num_bits == 4 || weights.num_bits == 8) &&
         static_int8(scheme.input_activations) && static_int8(scheme.output_activations);
}

}  // namespace spinor
