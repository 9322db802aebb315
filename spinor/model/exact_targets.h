// Targets that every reader of config.json takes alike.
#pragma once

#include <vector>

#include "spinor/model/quantization_targets.h"

namespace spinor {

// The groups of `config` with targets added for what a class does not mean everywhere: the head by its name, the
// embedding by its class. `quantized` points to schemes that are equal to those of `config`.
QuantizationConfig with_ends_named(QuantizationConfig config, const std::vector<QuantizedModule>& quantized,
                                   const Model& model);

// The groups with targets of which no module matches two: names, and where all modules of a kind have one group
// "re:(.*\.)?layers\.\d+\.mlp\.down_proj$", which is no name of anything fused.
QuantizationConfig with_exact_targets(QuantizationConfig config, const std::vector<QuantizedModule>& quantized,
                                      const Model& model);

}  // namespace spinor
