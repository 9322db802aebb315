// The tensors that calibration gives: scales of activations, beside the modules that have them.
#pragma once

#include <vector>

#include "spinor/io/safetensors.h"
#include "spinor/plan/plan.h"

namespace spinor {

// As compressed-tensors stores them: <module>.<place>_scale in the model's dtype, with _zero_point unless symmetric;
// or <module>.<place>_global_scale. begin and end are not set.
std::vector<TensorInfo> calibrated_tensors(const CalibratedActivation& activation, const Model& model,
                                           DType model_dtype);

}  // namespace spinor
