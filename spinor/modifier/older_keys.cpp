#include "spinor/modifier/older_keys.h"

#include <algorithm>

namespace spinor {
namespace {

bool is_absent(const Json& value) {
  return value.is_null();
}
bool is_absent_or_true(const Json& value) {
  return value.is_null() || value == true;
}
bool is_absent_or_false(const Json& value) {
  return value.is_null() || value == false;
}
bool is_absent_or_flag(const Json& value) {
  return value.is_null() || value.is_boolean();
}

// LlamaDecoderLayer, GPTNeoXLayer, GPT2Block: one layer after the other, as here; not parts of one, as experts.
bool is_layer_class(const Json& value) {
  if (!value.is_string()) return false;
  const std::string_view name = value.get_ref<const std::string&>();
  const bool experts = name.find("Moe") != std::string_view::npos || name.find("MoE") != std::string_view::npos;
  return name.ends_with("DecoderLayer") || (!experts && (name.ends_with("Layer") || name.ends_with("Block")));
}
bool are_layer_classes(const Json& value) {
  return value.is_null() || (value.is_array() ? std::ranges::all_of(value, is_layer_class) : is_layer_class(value));
}

struct OlderKey {
  std::string_view modifier, key;  // modifier: empty for all of llm-compressor's
  bool (*asks_for_nothing)(const Json& value);
  const char* problem;
  const char* hint;
};

constexpr const char* kOlderState = "is what llm-compressor notes of a modifier at work";
constexpr const char* kOlderSteps = "the number of samples is no argument of a modifier here";
constexpr const char* kOlderEpochs = "observers see each sample once, and there are no epochs";
constexpr const char* kLeaveItOut = "leave it out";
constexpr const char* kOlderSamples = "leave it out, and give --calibration-samples";

constexpr OlderKey kOlderKeys[] = {
    {"", "initialized_structure_", is_absent_or_false, kOlderState, kLeaveItOut},
    {"", "initialized_", is_absent_or_false, kOlderState, kLeaveItOut},
    {"", "finalized_", is_absent_or_false, kOlderState, kLeaveItOut},
    {"", "started_", is_absent_or_false, kOlderState, kLeaveItOut},
    {"", "ended_", is_absent_or_false, kOlderState, kLeaveItOut},
    {"QuantizationModifier", "num_calibration_steps", is_absent, kOlderSteps, kOlderSamples},
    {"QuantizationModifier", "disable_quantization_observer_epoch", is_absent, kOlderEpochs, kLeaveItOut},
    {"GPTQModifier", "num_calibration_steps", is_absent, kOlderSteps, kOlderSamples},
    {"GPTQModifier", "disable_quantization_observer_epoch", is_absent, kOlderEpochs, kLeaveItOut},
    // Where the peer keeps Hessians. Here they take a part of the memory that is given, or samples go through again.
    {"GPTQModifier", "offload_hessians", is_absent_or_flag, "is neither true nor false", kLeaveItOut},
    {"GPTQModifier", "sequential_targets", are_layer_classes, "calibration takes one decoder layer after the other",
     "leave it out, or name the class of the decoder layers"},
    {"GPTQModifier", "sequential_update", is_absent_or_true,
     "a layer's inputs are always those that the quantized layers before it give", kLeaveItOut},
    {"GPTQModifier", "quantize", is_absent_or_true, "GPTQModifier has its scheme itself",
     "write scheme, or config_groups, in GPTQModifier"},
};

constexpr std::string_view kPeersModifiers[] = {"SpinQuantModifier", "QuIPModifier", "QuantizationModifier",
                                                "GPTQModifier"};

}  // namespace

Json without_older_keys(std::string_view modifier, Json arguments, const Place& place) {
  if (!arguments.is_object() || std::ranges::find(kPeersModifiers, modifier) == std::end(kPeersModifiers))
    return arguments;
  for (const OlderKey& row : kOlderKeys) {
    const auto found = arguments.find(row.key);
    if (found == arguments.end() || (!row.modifier.empty() && row.modifier != modifier)) continue;
    const Place here = place.key(row.key);
    if (!row.asks_for_nothing(*found)) here.fail(here.name + ": " + found->dump() + ": " + row.problem, row.hint);
    arguments.erase(found);
  }
  return arguments;
}

}  // namespace spinor
