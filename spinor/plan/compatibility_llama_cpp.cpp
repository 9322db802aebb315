// llama.cpp's convert_hf_to_gguf.py, read as of 2026. It takes weights alone, as numbers or NVFP4: activations are
// never quantized there. Whether it knows the family is not asked.
#include "spinor/plan/compatibility_rules.h"
#include "spinor/plan/scheme_kinds.h"

namespace spinor {
namespace {

bool is_static(const std::optional<QuantizationArgs>& args) {
  return args && args->dynamic == QuantizationDynamic::no;
}

// Integers that fill 32 bits, in groups.
bool unpacks(const QuantizationScheme& scheme) {
  return scheme.format == "pack-quantized" && scheme.weights->strategy == QuantizationStrategy::group &&
         32 % scheme.weights->num_bits == 0;
}

bool multiplies(const QuantizationScheme& scheme) {
  const bool plain =
      scheme.format == "int-quantized" || scheme.format == "float-quantized" || scheme.format == "naive-quantized";
  const auto strategy = scheme.weights->strategy;
  return plain && scheme.weights->symmetric &&
         (strategy == QuantizationStrategy::channel || strategy == QuantizationStrategy::block);
}

std::optional<Finding> not_converted(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& one) {
    const QuantizationScheme& scheme = one.group->second;
    return !unpacks(scheme) && !multiplies(scheme) && !is_nvfp4(scheme);
  });
}

std::optional<Finding> undivided_nvfp4(const PlannedOutput& output) {
  return find_quantized(
      output, [](const QuantizedModule& one) { return is_nvfp4(one.group->second) && one.module->shape.in % 64 != 0; });
}

std::optional<Finding> static_scales(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& one) {
    const QuantizationScheme& scheme = one.group->second;
    return is_static(scheme.input_activations) || is_static(scheme.output_activations);
  });
}

std::optional<Finding> several_groups(const PlannedOutput& output) {
  if (!output.plan.quantization() || output.plan.quantization()->config_groups.size() < 2) return {};
  const auto other = std::ranges::find_if(output.modules, [&](const QuantizedModule& one) {
    return !is_nvfp4(one.group->second) && one.group != output.modules.front().group;
  });
  if (other == output.modules.end()) return {};
  return Finding{other->module->name, ""};
}

std::optional<Finding> quantized_cache(const PlannedOutput& output) {
  if (!output.plan.quantization() || !output.plan.quantization()->kv_cache_scheme) return {};
  return Finding{"kv_cache_scheme", ""};
}

constexpr const char* kNumbers = "run spinor dequantize, and convert its output";

constexpr Rule kLlamaCppRules[] = {
    {online_of_linears, "has nothing that runs the online transform {}, and its converter fails on the matrix",
     "leave it out, or store the weights rotated back with format: dense (--format dense by command)"},
    {online_in_attention, "has nothing that runs {}, and its converter fails on the matrix",
     "leave R3 out of rotations (--rotations by command)"},
    {several_groups, "reads config.json's first group of schemes alone: its converter fails", kNumbers},
    {not_converted, "has no converter for {}", kNumbers},
    {undivided_nvfp4, "has NVFP4 in blocks of 64 columns, which do not divide {}",
     "leave it out with ignore (--ignore by command)"},
    {static_scales, "does not know the static scales of {}: its converter fails",
     "use a scheme with dynamic activations, or none"},
    {quantized_cache, "does not read kv_cache_scheme", "leave it out; llama.cpp has options for its cache"},
};

}  // namespace

std::span<const Rule> llama_cpp_rules() {
  return kLlamaCppRules;
}

}  // namespace spinor
