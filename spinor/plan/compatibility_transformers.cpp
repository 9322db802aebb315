// transformers 5.23 with compressed-tensors 0.20: all of this was run (tests/quantize_client_test.py).
#include "spinor/model/linear_experts.h"
#include "spinor/model/loaded_names.h"
#include "spinor/plan/compatibility_rules.h"

namespace spinor {
namespace {

std::optional<Finding> packed_asymmetric(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& m) {
    return m.group->second.format == "pack-quantized" && !m.group->second.weights->symmetric;
  });
}

std::optional<Finding> quantized_experts(const PlannedOutput& output) {
  return find_quantized(output, [](const QuantizedModule& m) { return m.module->expert; });
}

bool is_float8(const QuantizedModule& one) {
  const auto& weights = one.group->second.weights;
  return weights && weights->type == QuantizationType::floating && weights->num_bits == 8;
}

// What it puts together, or takes apart, while it loads: it looks for the quantized tensors of all of that, and finds
// none, but passes FP8 on.
std::optional<Finding> remade(const PlannedOutput& output) {
  const Model& model = output.plan.model();
  if (!model.architecture() || std::ranges::all_of(output.modules, is_float8)) return {};
  const auto found = std::ranges::find_if(model.modules(), [&](const Module& module) {
    const bool one_by_one =
        module.expert && module.shape.count == 1 && module.name.find("experts.") != std::string::npos;
    return one_by_one || is_remade(*model.architecture(), module.name);
  });
  if (found == model.modules().end()) return {};
  return Finding{found->name, ""};
}

// Of a family of which it knows no others.
std::optional<Finding> experts_not_stacked(const PlannedOutput& output) {
  const Model& model = output.plan.model();
  if (!has_linear_experts(model)) return {};
  return Finding{std::ranges::find_if(model.modules(), &Module::expert)->name, ""};
}

constexpr Rule kTransformersRules[] = {
    {online_of_linears, "drops the online transform {} without a word and computes something else",
     "leave it out, or store the weights rotated back with format: dense (--format dense by command); README.md in OUT "
     "has code that applies it"},
    {packed_asymmetric, "fails to load packed asymmetric weights, unless it is told to dequantize them",
     "load with CompressedTensorsConfig(dequantize=True), or choose a symmetric scheme"},
    {quantized_embedding, "cannot look up tokens in a quantized embedding",
     "leave it out with ignore (--ignore by command)"},
    {undivided_inputs, "cannot quantize {}",
     "leave the module out with ignore (--ignore by command), or choose a scheme per token"},
    {quantized_experts, "stacks experts while it loads, and cannot do so with quantized ones",
     "leave the experts out with ignore (--ignore by command), or run the model with spinor"},
    {experts_not_stacked, "knows the experts of this family only as stacks, and not one by one",
     "leave the experts out with ignore (--ignore by command), or run the model with spinor"},
    {remade,
     "puts weights together while it loads, or takes them apart, and cannot do so beside quantized ones but FP8",
     "choose a scheme of FP8 weights (--scheme FP8_DYNAMIC), or run the model with spinor"},
};

}  // namespace

std::span<const Rule> transformers_rules() {
  return kTransformersRules;
}

}  // namespace spinor
