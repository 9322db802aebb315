// What config.json says of modules that a recipe quantizes.
#pragma once

#include "spinor/base/fields.h"
#include "spinor/model/quantization_targets.h"
#include "spinor/plan/plan.h"

namespace spinor {

// Whether the plan quantizes its weight.
bool is_quantized(const Module& module, const RewritePlan& plan);

// group_0, group_1, ... in the order in which modules meet them, and an `ignore` of names; together with what earlier
// modifiers of the recipe have quantized. Targets are the recipe's, unless vLLM or SGLang would read those otherwise
// and others alike (exact_targets.h). Error at `place` for groups that the config could not tell apart, and for a
// second kv_cache_scheme.
QuantizationConfig stored_config(const std::vector<QuantizedModule>& modules, const Model& model,
                                 const RewritePlan& plan, const std::optional<QuantizationArgs>& kv_cache_scheme,
                                 const Place& place);

}  // namespace spinor
