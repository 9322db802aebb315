// Rounds weights to fewer bits, without data, in a recipe.
#pragma once

#include <string>

#include "spinor/modifier/once_modifier.h"
#include "spinor/modifier/quantization_arguments.h"

namespace spinor {

// Weights become codes as the last edit of their plan; with format: dense they are quantized, dequantized and rotated
// back where a transform would have to run online, and the output is a model like any other. Refused with the reason:
// what needs calibration data (static activation scales, kv_cache_scheme), a target that matches nothing, groups that
// do not divide. Ignore entries that match nothing are warnings.
class QuantizationModifier : public OnceModifier {
 public:
  using Arguments = QuantizationArguments;

  explicit QuantizationModifier(QuantizationArguments arguments,
                                const Place& place = {"QuantizationModifier", "QuantizationModifier"});

  std::string name() const override { return "QuantizationModifier"; }
  Json arguments() const override { return write_fields(arguments_); }
  const QuantizationConfig& config() const { return config_; }

 protected:
  bool on_initialize(State& state, const ExtraArguments& extra) override;
  void rewrite(State& state, RewritePlan& plan) override;

 private:
  bool is_dense() const;
  void quantize(const Model& model, RewritePlan& plan) const;

  QuantizationArguments arguments_;
  std::string subject_;  // where the recipe has it
  QuantizationConfig config_;
};

}  // namespace spinor
