#include "spinor/modifier/gptq_modifier.h"

#include <algorithm>
#include <utility>

namespace spinor {
namespace {

void check(const GptqArguments& arguments, const Place& place) {
  if (arguments.block_size < 1) place.key("block_size").fail("block_size is not positive", "use 128");
  const double damping = arguments.dampening_frac.value_or(0);
  if (!(damping >= 0 && damping < 1e6))
    place.key("dampening_frac").fail("dampening_frac is a fraction of the Hessian's mean diagonal", "use 0.01");
  const Json& batched = arguments.batched_quantization;
  const bool positive = batched.is_number_integer() && batched.get<int64_t>() > 0;
  if (!batched.is_null() && batched != "auto" && !positive)
    place.key("batched_quantization").fail("batched_quantization is neither auto nor a number of weights");
}

// The default fills groups that say nothing; what is asked for contradicts a group that says something else.
void set_actorder(QuantizationArgs& weights, const Json& asked, const Place& place) {
  std::optional<ActOrder> wanted;
  read_value(asked, ActOrderField{wanted}, place.key("actorder"));
  if (weights.actorder && asked == "static") return;
  if (weights.actorder && weights.actorder != wanted)
    place.key("actorder").fail("actorder and that of a group of config_groups differ", "give one of them");
  weights.actorder = wanted;
}

QuantizationConfig config_of(const GptqArguments& arguments, const Place& place) {
  check(arguments, place);
  QuantizationConfig config = resolve(arguments.quantization, place);
  if (std::ranges::none_of(config.config_groups, [](const auto& group) { return group.second.weights.has_value(); }))
    place.fail("quantizes no weights", "write scheme: W4A16, or use QuantizationModifier");
  for (auto& [name, scheme] : config.config_groups) {
    if (scheme.format == "dense" && scheme.weights)
      place.fail("format: dense is not supported with GPTQ yet",
                 "leave the format (--format by command) out, then run spinor dequantize");
    if (scheme.weights) set_actorder(*scheme.weights, arguments.actorder, place);
  }
  return config;
}

}  // namespace

GPTQModifier::GPTQModifier(GptqArguments arguments, const Place& place)
    : QuantizationModifier(arguments.quantization, config_of(arguments, place), place),
      arguments_(std::move(arguments)) {}

}  // namespace spinor
