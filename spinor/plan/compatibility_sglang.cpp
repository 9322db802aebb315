// SGLang 0.5.23 on NVIDIA's processors, read in its sources and not run.
#include "spinor/model/client_targets.h"
#include "spinor/plan/compatibility_rules.h"
#include "spinor/plan/scheme_kinds.h"

namespace spinor {
namespace {

bool is_packed_4_or_8(const QuantizationScheme& scheme) {
  return is_packed_a16(scheme) && (scheme.weights->num_bits == 4 || scheme.weights->num_bits == 8);
}

bool has_sglang_kernel(const QuantizationScheme& scheme, bool expert) {
  if (is_packed_4_or_8(scheme) || is_nvfp4(scheme) || is_w8a8_fp8(scheme)) return true;
  if (expert) return is_mxfp4(scheme) || is_packed_fp8(scheme);
  return is_w8a8_int(scheme) || (is_w8a16_fp8(scheme) && scheme.weights->strategy != QuantizationStrategy::block);
}

std::optional<Finding> no_sglang_kernel(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& one) {
    return one.module->kind == ModuleKind::linear && !has_sglang_kernel(one.group->second, one.module->expert);
  });
}

std::optional<Finding> head_in_blocks(const PlannedOutput& output) {
  return find_quantized(output, [&](const QuantizedModule& one) {
    return one.module == output.plan.model().head() &&
           one.group->second.weights->strategy == QuantizationStrategy::block;
  });
}

std::optional<Finding> ignored_cache(const PlannedOutput& output) {
  if (!output.plan.quantization() || !output.plan.quantization()->kv_cache_scheme) return {};
  const QuantizationArgs& cache = *output.plan.quantization()->kv_cache_scheme;
  if (cache.type == QuantizationType::floating && cache.num_bits == 8 && cache.symmetric &&
      cache.strategy == QuantizationStrategy::tensor && cache.dynamic == QuantizationDynamic::no)
    return {};
  return Finding{"kv_cache_scheme", text_of(cache)};
}

std::optional<Finding> misread_by_sglang(const PlannedOutput& output) {
  if (!output.plan.quantization()) return {};
  const auto found =
      find_misreading(*output.plan.quantization(), output.modules, output.plan.model(), TargetReader::sglang);
  if (!found) return {};
  return Finding{found->module->name, found->problem};
}

constexpr Rule kSglangRules[] = {
    {online_of_linears, "ignores transform_config: it drops the online transform {} and computes something else",
     "leave it out, or store the weights rotated back with format: dense (--format dense by command)"},
    {no_sglang_kernel, "has no kernel for {}", "use W4A16, W8A8, FP8_DYNAMIC or NVFP4"},
    {quantized_embedding, "reads the embedding as not quantized: it has no kernel for {}",
     "leave the embedding out with ignore (--ignore by command)"},
    {head_in_blocks, "cannot load a head with {}", "leave the head out with ignore (--ignore by command)"},
    {quantized_outputs, "leaves the outputs of {} as they are", "leave output_activations out"},
    {ignored_cache, "ignores a cache of {}", "use FP8, symmetric, static, of strategy tensor"},
    {undivided_inputs, "cannot quantize {}",
     "leave the module out with ignore (--ignore by command), or choose a scheme per token"},
    {undivided_rows, "cannot fuse a linear of {}",
     "leave what it is fused with out with ignore (--ignore by command), or use FP8_DYNAMIC"},
    {misread_by_sglang, "{}",
     "give linears that are fused, and all experts of a layer, one scheme, or ignore all of them"},
};

}  // namespace

std::span<const Rule> sglang_rules() {
  return kSglangRules;
}

}  // namespace spinor
