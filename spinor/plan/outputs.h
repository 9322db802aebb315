// What a tensor of a plan becomes in the files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/io/safetensors.h"
#include "spinor/plan/plan.h"
#include "spinor/quant/about_tensor.h"
#include "spinor/quant/encoder.h"

namespace spinor {

// Whether only its bytes are copied: spinor does not compute with its type.
bool is_copied(const CheckpointTensor& source);

// The type of a tensor of the output whose numbers shall be stored as `asked`; none: as in the source.
DType output_dtype(const TensorPlan& tensor, std::optional<DType> asked);

// What a tensor of a plan becomes when numbers are stored as `output`: one tensor, or those of its quantized form, the
// one with the codes first. begin and end are not set.
std::vector<TensorInfo> output_tensors(const TensorPlan& tensor, DType output);

// How the codes of a tensor that is quantized are laid out. Error for a weight that no format holds.
WeightLayout quantized_layout(const TensorPlan& tensor, const WeightQuantization& quantization, DType output);

// What makes those codes.
WeightEncoder make_encoder(const TensorPlan& tensor, const WeightQuantization& quantization, DType output);

}  // namespace spinor
