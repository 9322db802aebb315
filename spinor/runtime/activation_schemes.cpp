#include "spinor/runtime/activation_schemes.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/model/quantized_source.h"

namespace spinor::runtime {
namespace {

std::optional<QuantizationConfig> declared(const RewritePlan& plan) {
  if (plan.quantization()) return plan.quantization();
  const QuantizedSource* source = plan.model().quantized_source();
  const bool as_stored = std::ranges::all_of(plan.tensors(), [](const TensorPlan& t) { return t.edits.empty(); });
  if (!source || source->method != "compressed-tensors" || !as_stored) return std::nullopt;
  return quantization_config_from_json(source->quantization, (source->stored.directory() / "config.json").string());
}

// As many as there are: one, or one for each head.
std::vector<float> read_numbers(const Checkpoint& checkpoint, const CheckpointTensor& tensor, int64_t count) {
  if (tensor.info.elements() != count)
    throw Error(tensor.info.name, fmt::format("has {} numbers, not {}", tensor.info.elements(), count),
                "the checkpoint is incomplete");
  const std::vector<std::byte> bytes = checkpoint.read(tensor);
  std::vector<float> values(static_cast<size_t>(count));
  if (tensor.info.dtype == DType::I8) {
    std::ranges::transform(bytes, values.begin(), [](std::byte b) { return static_cast<int8_t>(b); });
    return values;
  }
  if (!info(tensor.info.dtype).editable)
    throw Error(tensor.info.name, fmt::format("is stored as {}, which is no scale", info(tensor.info.dtype).name));
  load(tensor.info.dtype, bytes.data(), values.data(), count);
  return values;
}

}  // namespace

QuantizationArgs args_of(const LowBits& asked) {
  return asked.scheme.value_or(ActivationQuantizer::token_args(asked.bits, asked.symmetric));
}

ActivationQuantizer quantizer_of(const LowBits& asked) {
  const QuantizationArgs args = args_of(asked);
  if (args.strategy == QuantizationStrategy::tensor_group) return ActivationQuantizer::without_global(args, asked.clip);
  return ActivationQuantizer(args, asked.clip);
}

ActivationSchemes::ActivationSchemes(const RewritePlan& plan, const RuntimeOptions& options)
    : model_(plan.model()), config_(declared(plan)), activations_(options.activations), kv_(options.kv) {}

std::optional<ActivationQuantizer> ActivationSchemes::input(const Module& linear) const {
  if (activations_) return linear.layer < 0 ? std::nullopt : std::optional(quantizer_of(*activations_));
  const auto* group = config_ ? find_group(*config_, linear) : nullptr;
  return group ? make(linear.name, group->second.input_activations, "input") : std::nullopt;
}

std::optional<ActivationQuantizer> ActivationSchemes::output(const Module& linear) const {
  const auto* group = config_ && !activations_ ? find_group(*config_, linear) : nullptr;
  return group ? make(linear.name, group->second.output_activations, "output") : std::nullopt;
}

std::optional<ActivationQuantizer> ActivationSchemes::keys(const std::string& attention) const {
  return cache(attention, "k");
}

std::optional<ActivationQuantizer> ActivationSchemes::values(const std::string& attention) const {
  return cache(attention, "v");
}

std::optional<ActivationQuantizer> ActivationSchemes::cache(const std::string& attention, const char* prefix) const {
  if (kv_) return quantizer_of(*kv_);
  return config_ ? make(attention, config_->kv_cache_scheme, prefix) : std::nullopt;
}

std::optional<ActivationQuantizer> ActivationSchemes::make(const std::string& module,
                                                           const std::optional<QuantizationArgs>& args,
                                                           const char* prefix) const {
  if (!args) return std::nullopt;
  try {
    return ActivationQuantizer(*args, 1, stored(module, *args, prefix));
  } catch (const Error& error) {
    throw Error(module, fmt::format("{} {}: {}", prefix, error.subject(), error.problem()), error.hint());
  }
}

StaticActivation ActivationSchemes::stored(const std::string& module, const QuantizationArgs& args,
                                           const std::string& prefix) const {
  StaticActivation fixed;
  if (args.dynamic == QuantizationDynamic::yes || !model_.quantized_source()) return fixed;
  const Checkpoint& checkpoint = model_.quantized_source()->stored;
  const auto find = [&](const char* what) { return checkpoint.find(fmt::format("{}.{}_{}", module, prefix, what)); };
  if (const CheckpointTensor* global = find("global_scale")) fixed.global = read_numbers(checkpoint, *global, 1)[0];
  const CheckpointTensor *scale = find("scale"), *zero = args.symmetric ? nullptr : find("zero_point");
  if (!scale) return fixed;
  const int64_t count = args.strategy == QuantizationStrategy::attn_head ? model_.num_key_value_heads() : 1;
  for (const float value : read_numbers(checkpoint, *scale, count)) fixed.affine.push_back({value, 0});
  if (!zero) return fixed;
  const std::vector<float> zeros = read_numbers(checkpoint, *zero, count);
  for (size_t i = 0; i < zeros.size(); ++i) fixed.affine[i].zero = zeros[i];
  return fixed;
}

}  // namespace spinor::runtime
