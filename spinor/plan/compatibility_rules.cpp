#include "spinor/plan/compatibility_rules.h"

#include <fmt/format.h>

#include <map>

#include "spinor/model/fused_linears.h"
#include "spinor/model/read_layers.h"

namespace spinor {
namespace {

// How many columns of inputs share a scale; 0: all of a token, or of the tensor.
int64_t inputs_in_group(const QuantizationScheme& scheme) {
  const auto& inputs = scheme.input_activations;
  if (!inputs || !inputs->group_size) return 0;
  return std::max<int64_t>(*inputs->group_size, 0);
}

}  // namespace

bool acts_in_attention(const OnlineTransform& online) {
  return is_in_attention(online.location);
}

std::string text_of(const QuantizationArgs& args) {
  std::string text = fmt::format("{} bits {}", args.num_bits, name_in_table(args.type));
  if (args.strategy) text += fmt::format(", {}", name_in_table(*args.strategy));
  if (args.group_size && *args.group_size > 0) text += fmt::format(" of {}", *args.group_size);
  if (!args.symmetric) text += ", asymmetric";
  return args.dynamic == QuantizationDynamic::no ? text : text + ", dynamic";
}

std::string text_of(const QuantizationScheme& scheme) {
  std::string text = fmt::format("weights of {}, {}", text_of(*scheme.weights), scheme.format.value_or("dense"));
  if (scheme.input_activations) text += fmt::format(" with inputs of {}", text_of(*scheme.input_activations));
  return text;
}

Finding finding_of(const QuantizedModule& one) {
  return {one.module->name, text_of(one.group->second)};
}

std::optional<Finding> online_of_linears(const PlannedOutput& output) {
  const auto* online = find_online(output, [](const auto& o) { return !acts_in_attention(o); });
  if (!online) return {};
  return Finding{online->module, fmt::format("{} at {}", online->group, name_of(online->location))};
}

std::optional<Finding> online_in_attention(const PlannedOutput& output) {
  const auto* online = find_online(output, acts_in_attention);
  if (!online) return {};
  return Finding{online->module, fmt::format("{} at {}", online->group, name_of(online->location))};
}

std::optional<Finding> quantized_embedding(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& m) { return m.module->kind == ModuleKind::embedding; });
}

std::optional<Finding> quantized_outputs(const PlannedOutput& output) {
  return find_quantized(output,
                        [](const QuantizedModule& m) { return m.group->second.output_activations.has_value(); });
}

std::optional<Finding> undivided_inputs(const PlannedOutput& output) {
  for (const QuantizedModule& one : output.modules) {
    const int64_t group = inputs_in_group(one.group->second);
    if (one.module->kind != ModuleKind::linear || group == 0 || one.module->shape.in % group == 0) continue;
    return Finding{one.module->name, fmt::format("{} inputs in groups of {}", one.module->shape.in, group)};
  }
  return {};
}

std::optional<Finding> undivided_rows(const PlannedOutput& output) {
  std::map<const Module*, int64_t> blocks;  // rows in a block
  for (const QuantizedModule& one : output.modules)
    if (const auto& structure = one.group->second.weights->block_structure) blocks[one.module] = structure->first;
  if (blocks.empty()) return {};
  for (const ReadLayer& layer : read_layers(output.plan.model()))
    for (const Module* part : layer.parts) {
      const bool joined = layer.kind == ReadLayer::fused
                              ? part != layer.parts.back()
                              : layer.kind == ReadLayer::experts && !fused_name(part->name).empty();
      const auto block = blocks.find(part);
      if (!joined || block == blocks.end() || part->shape.out % block->second == 0) continue;
      return Finding{part->name, fmt::format("{} rows in blocks of {}", part->shape.out, block->second)};
    }
  return {};
}

}  // namespace spinor
