// How the activations of each module are quantized while the model runs.
#pragma once

#include <optional>
#include <string>

#include "spinor/model/quantization_targets.h"
#include "spinor/plan/plan.h"
#include "spinor/quant/activation.h"
#include "spinor/runtime/options.h"

namespace spinor::runtime {

// The scheme that is asked for, and what quantizes by it.
QuantizationArgs args_of(const LowBits& asked);
ActivationQuantizer quantizer_of(const LowBits& asked);

// What the plan's recipe declares, or its source if it is run as it is stored; the options of research take its place.
class ActivationSchemes {
 public:
  ActivationSchemes(const RewritePlan& plan, const RuntimeOptions& options);

  // Of linears. Errors naming the module: a scheme spinor cannot run, a static scale the checkpoint does not have.
  std::optional<ActivationQuantizer> input(const Module& linear) const;
  std::optional<ActivationQuantizer> output(const Module& linear) const;
  // Of the rows (token and head) of an attention's cache.
  std::optional<ActivationQuantizer> keys(const std::string& attention) const;
  std::optional<ActivationQuantizer> values(const std::string& attention) const;

 private:
  std::optional<ActivationQuantizer> make(const std::string& module, const std::optional<QuantizationArgs>& args,
                                          const char* prefix) const;
  std::optional<ActivationQuantizer> cache(const std::string& attention, const char* prefix) const;
  StaticActivation stored(const std::string& module, const QuantizationArgs& args, const std::string& prefix) const;

  Model model_;
  std::optional<QuantizationConfig> config_;
  std::optional<LowBits> activations_, kv_;
};

}  // namespace spinor::runtime
