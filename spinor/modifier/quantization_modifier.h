// Rounds weights to fewer bits, in a recipe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/model/quantization_targets.h"
#include "spinor/modifier/modifier.h"
#include "spinor/modifier/quantization_arguments.h"

namespace spinor {

// Weights become codes as the last edit of their plan; with format: dense they are quantized, dequantized and rotated
// back where a transform would have to run online, and the output is a model like any other. Static scales of
// activations and of the KV cache are for calibration to find. Refused with the reason: a target that matches nothing,
// groups that do not divide. Ignore entries that match nothing are warnings.
class QuantizationModifier : public Modifier {
 public:
  using Arguments = QuantizationArguments;

  explicit QuantizationModifier(QuantizationArguments arguments,
                                const Place& place = {"QuantizationModifier", "QuantizationModifier"});

  std::string name() const override { return "QuantizationModifier"; }
  Json arguments() const override { return write_fields(arguments_); }
  std::optional<Model> form_of(const Model& model) const override { return with_quantized_experts(config_, model); }
  const QuantizationConfig& config() const { return config_; }  // what the arguments resolve to
  void prepare(const Model& model, RewritePlan&, Warnings& warnings) override;
  void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) override;

 protected:
  // With a config that is not quite what the arguments resolve to.
  QuantizationModifier(QuantizationArguments arguments, QuantizationConfig config, const Place& place);

  // How codes of linears are found with data; nothing: without.
  virtual std::optional<GptqOptions> gptq() const { return {}; }

 private:
  bool is_dense() const;
  void quantize(const Model& model, RewritePlan& plan, Warnings& warnings) const;
  WeightQuantization make_quantization(const QuantizedModule& one, Warnings& warnings) const;
  void warn_about_observers(Warnings& warnings) const;
  void calibrate(const std::vector<QuantizedModule>& modules, const Model& model, RewritePlan& plan) const;

  QuantizationArguments arguments_;
  std::string subject_;  // where the recipe has it
  QuantizationConfig config_;
};

}  // namespace spinor
