// vLLM 0.33, read in its sources (compressed_tensors.py and what it calls). `make check-vllm` runs 0.32 on a CPU.
#include <fmt/format.h>

#include <array>
#include <map>
#include <set>

#include "spinor/model/client_targets.h"
#include "spinor/model/read_layers.h"
#include "spinor/plan/compatibility_rules.h"
#include "spinor/plan/scheme_kinds.h"

namespace spinor {
namespace {

using Kind = bool (*)(const QuantizationScheme&);

// Of linears and the head.
constexpr Kind kLinearKernels[] = {is_nvfp4,      is_mxfp4,      is_mxfp8,      is_static_a8o8_int,
                                   is_packed_int, is_packed_a16, is_packed_fp8, is_w8a8_fp8,
                                   is_w8a16_fp8,  is_w8a8_int,   is_w4a8_int};
// Of experts: fewer, and 8 bits with one scale a row and a token, or one for each tensor.
bool is_expert_w8a8(const QuantizationScheme& scheme) {
  using enum QuantizationStrategy;
  if (!is_w8a8_fp8(scheme) && !is_w8a8_int(scheme)) return false;
  const auto weights = scheme.weights->strategy, inputs = scheme.input_activations->strategy;
  if (weights == channel) return inputs == token;
  return scheme.format == "float-quantized" && (weights == block || inputs == tensor);
}
constexpr Kind kExpertKernels[] = {is_nvfp4,      is_mxfp4,    is_mxfp8,      is_packed_a16,
                                   is_packed_fp8, is_w4a8_int, is_expert_w8a8};

bool has_kernel(const QuantizationScheme& scheme, bool expert) {
  const auto takes = [&](Kind kind) { return kind(scheme); };
  return expert ? std::ranges::any_of(kExpertKernels, takes) : std::ranges::any_of(kLinearKernels, takes);
}

bool would_run_packed(const QuantizedModule& one) {
  QuantizationScheme packed = one.group->second;
  packed.format = "pack-quantized";
  return has_kernel(packed, one.module->expert);
}

bool is_linear_without_kernel(const QuantizedModule& one) {
  return one.module->kind == ModuleKind::linear && !has_kernel(one.group->second, one.module->expert);
}

std::optional<Finding> not_packed(const PlannedOutput& output) {
  return find_quantized(output, [](const auto& one) { return is_linear_without_kernel(one) && would_run_packed(one); });
}

std::optional<Finding> no_kernel(const PlannedOutput& output) {
  return find_quantized(output,
                        [](const auto& one) { return is_linear_without_kernel(one) && !would_run_packed(one); });
}

// A look-up of symmetric integers, of which as many as fit lie in 32 bits.
std::optional<Finding> embedding_without_kernel(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& one) {
    const QuantizationScheme& scheme = one.group->second;
    return one.module->kind == ModuleKind::embedding &&
           !(is_packed_a16(scheme) && scheme.weights->symmetric && 32 % scheme.weights->num_bits == 0);
  });
}

std::optional<Finding> outputs_left_out(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& one) {
    return one.group->second.output_activations && !is_static_a8o8_int(one.group->second);
  });
}

std::optional<Finding> cache_of_other_types(const PlannedOutput& output) {
  if (!output.plan.quantization() || !output.plan.quantization()->kv_cache_scheme) return {};
  const QuantizationArgs& cache = *output.plan.quantization()->kv_cache_scheme;
  using enum QuantizationStrategy;
  if (cache.type == QuantizationType::floating && cache.num_bits == 8 && cache.symmetric &&
      (cache.strategy == tensor || cache.strategy == attn_head))
    return {};
  return Finding{"kv_cache_scheme", text_of(cache)};
}

std::optional<Finding> dynamic_cache(const PlannedOutput& output) {
  if (!output.plan.quantization() || !output.plan.quantization()->kv_cache_scheme) return {};
  if (output.plan.quantization()->kv_cache_scheme->dynamic == QuantizationDynamic::no) return {};
  return Finding{"kv_cache_scheme", ""};
}

std::optional<Finding> misread(const PlannedOutput& output) {
  if (!output.plan.quantization()) return {};
  const auto found =
      find_misreading(*output.plan.quantization(), output.modules, output.plan.model(), TargetReader::vllm);
  if (!found) return {};
  return Finding{found->module->name, found->problem};
}

Finding finding_of(const OnlineTransform& online) {
  return {online.module, fmt::format("{} at {}", online.group, name_of(online.location))};
}

template <typename Predicate>
std::optional<Finding> find_transform(const PlannedOutput& output, Predicate predicate) {
  const auto* online = find_online(output, [&](const OnlineTransform& o) {
    return !acts_in_attention(o) && predicate(o, output.plan.model().find(o.module));
  });
  if (!online) return {};
  return finding_of(*online);
}

std::optional<Finding> biased_online(const PlannedOutput& output) {
  return find_transform(output, [](const OnlineTransform&, const Module* module) { return module && module->bias; });
}

std::optional<Finding> online_of_experts(const PlannedOutput& output) {
  return find_transform(output, [](const OnlineTransform&, const Module* module) { return module && module->expert; });
}

std::optional<Finding> online_of_ends(const PlannedOutput& output) {
  const Model& model = output.plan.model();
  return find_transform(output, [&](const OnlineTransform&, const Module* module) {
    return module && (module == model.head() || module->kind == ModuleKind::embedding);
  });
}

std::optional<Finding> unknown_matrix(const PlannedOutput& output) {
  return find_transform(output, [](const OnlineTransform& online, const Module*) {
    return !online.r.peer_has_order() || !online.r.permutation().empty();
  });
}

std::optional<Finding> stacked_inputs(const PlannedOutput& output) {
  std::map<std::string_view, const OnlineTransform*> inputs;
  for (const OnlineTransform& online : output.plan.online()) {
    if (online.location != TransformLocation::input) continue;
    const auto [first, added] = inputs.emplace(online.module, &online);
    if (!added) return Finding{online.module, fmt::format("{}, not {}", online.group, first->second->group)};
  }
  return {};
}

// Of linears that it fuses.
std::optional<Finding> different_inputs(const PlannedOutput& output) {
  std::map<std::string_view, std::set<std::string_view>> groups;
  for (const OnlineTransform& online : output.plan.online())
    if (online.location == TransformLocation::input) groups[online.module].insert(online.group);
  if (groups.empty()) return {};
  for (const ReadLayer& layer : read_layers(output.plan.model())) {
    if (layer.kind != ReadLayer::fused) continue;
    for (const Module* part : layer.parts)
      if (groups[part->name] != groups[layer.parts.front()->name])
        return Finding{part->name, layer.parts.front()->name};
  }
  return {};
}

std::optional<Finding> experts_left_out(const PlannedOutput& output) {
  const Model& model = output.plan.model();
  const auto expert = std::ranges::find_if(model.modules(), &Module::expert);
  if (model.architecture_name() != "GptOssForCausalLM" || expert == model.modules().end()) return {};
  return Finding{expert->name, ""};
}

constexpr const char* kNoOnline =
    "leave it out, or store the weights rotated back with format: dense (--format dense by command)";
constexpr const char* kNoExperts =
    "leave the experts out with ignore (--ignore by command), or run the model with spinor";

constexpr Rule kVllmRules[] = {
    {online_in_attention, "has no {} and fails to load its matrix",
     "leave R3 out of rotations (--rotations by command)"},
    {stacked_inputs, "applies one input transform to a linear: {}", "leave one of them out"},
    {different_inputs, "fuses it with {}, and fails where their online transforms differ",
     "give linears that read the same one transform"},
    {biased_online, "asserts that a linear with the online transform {} has no bias", kNoOnline},
    {online_of_experts, "never runs the online transform {} of an expert", kNoOnline},
    {online_of_ends, "never runs the online transform {} outside of the layers", kNoOnline},
    {unknown_matrix, "has no matrix of this size for {}",
     "use hadamard or random-hadamard without randomize (--randomize), with a block size (128 for groups of 128: "
     "--block-size 128 by command)"},
    {not_packed, "has no kernel for {}", "use format: pack-quantized (--format pack-quantized)"},
    {no_kernel, "has no kernel for {}",
     "use integers of 2 to 8 bits per channel or group with format: pack-quantized, W8A8, FP8, NVFP4 or MXFP4"},
    {embedding_without_kernel, "looks up no tokens in {}",
     "leave the embedding out with ignore (--ignore by command), or use 2, 4 or 8 bits, symmetric, without "
     "activations"},
    {outputs_left_out, "leaves the outputs of {} as they are", "leave output_activations out"},
    {cache_of_other_types, "has no cache of {}", "use FP8, symmetric, of strategy tensor or attn_head"},
    {dynamic_cache, "takes 1 for scales that the cache would find while the model runs",
     "use dynamic: false, which needs calibration"},
    {undivided_inputs, "cannot quantize {}",
     "leave the module out with ignore (--ignore by command), or choose a scheme per token"},
    {undivided_rows, "cannot fuse a linear of {}",
     "leave what it is fused with out with ignore (--ignore by command), or use FP8_DYNAMIC"},
    {misread, "{}", "give linears that are fused, and all experts of a layer, one scheme, or ignore all of them"},
    {experts_left_out, "reads the experts of gpt-oss as stacks, and leaves single ones out without a word", kNoExperts},
};

}  // namespace

std::span<const Rule> vllm_rules() {
  return kVllmRules;
}

}  // namespace spinor
