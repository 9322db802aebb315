// The arguments of the modifiers that quantize, as llm-compressor spells them, and the config they amount to.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "spinor/modifier/argument_fields.h"
#include "spinor/quant/config.h"

namespace spinor {

struct QuantizationArguments {
  std::vector<std::string> targets = {"Linear"}, ignore = {};  // targets of `scheme`, if it names none
  Json scheme = {};                                            // "W4A16", or {W4A16: targets, ...}
  std::optional<Json> config_groups = {};                      // instead of a scheme
  std::optional<QuantizationArgs> kv_cache_scheme = {};
  std::optional<std::string> weight_observer = {}, input_observer = {}, output_observer = {};
  Json observer = {};  // {weights: mse, input: ..., output: ...}, or the weights' as a string
  // Read, and without effect: no format stores groups that do not divide, so that the peer fails too, only later.
  bool bypass_divisibility_checks = false;
  std::optional<TransformConfig> transform_config = {};  // applied before an observer sees the weight
  std::optional<std::string> format = {};                // of every group that names none; ours
  std::optional<Compat> compat = {};                     // ours

  template <class Visitor>
  void fields(Visitor& v) {
    v("targets", one_or_many(targets));
    v("ignore", one_or_many(ignore));
    v("scheme", scheme);
    v("config_groups", config_groups);
    v("kv_cache_scheme", ArgsField{kv_cache_scheme});
    v("weight_observer", weight_observer);
    v("input_observer", input_observer);
    v("output_observer", output_observer);
    v("observer", observer);
    v("bypass_divisibility_checks", bypass_divisibility_checks);
    v("transform_config", transform_config);
    v("format", format);
    v("compat", compat);
  }
};

// Groups group_0, group_1, ... of the scheme, or config_groups, every scheme with its observers and its format; none
// where there is a kv_cache_scheme alone. Errors at `place`: scheme and config_groups together; nothing that is
// quantized; an unknown preset, observer or format; observers given twice.
QuantizationConfig resolve(const QuantizationArguments& arguments, const Place& place);

}  // namespace spinor
