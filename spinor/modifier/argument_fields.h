// What the arguments of several modifiers have in common.
#pragma once

#include <span>
#include <string>

#include "spinor/base/fields.h"
#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// Whose behaviour to reproduce where spinor's differs. llm_compressor: SpinQuant centres
// embeddings, folds norms whatever the rotations, and R1 need not be orthogonal, so that its results are not the same
// function as the model they came from; weights are quantized in their own dtype, not in float32.
enum class Compat { llm_compressor };
std::span<const EnumName<Compat>> enum_names(Compat);

// A torch dtype that weights can be edited in: float64 or float32.
struct PrecisionName {
  Precision& precision;
};
void read_value(const Json& json, PrecisionName out, const Place& place);
void to_json(Json& json, const PrecisionName& name);

// Error at the key for a type that is no row of transform_types(), in exactly its spelling, and not automatic.
void check_transform_type(const std::string& type, const Place& place);
// Error at the key for requires_grad: true.
void check_not_learnable(const TransformConfig& config, const Place& place);

}  // namespace spinor
