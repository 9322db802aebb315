// The objective `quantization`: the error of the very quantizer that a recipe has.
#pragma once

#include "spinor/learning/objective.h"

namespace spinor::learning {

// Error, about "activations", for a quantizer that is not computed from each row: a static scale is not known before
// the rotation is. And for groups that do not divide n.
void check_row_quantizer(const QuantizationArgs& args, int64_t n);
// Elements of a row of n that share a scale.
int64_t group_size(const QuantizationArgs& args, int64_t n);
// Whether its scales depend on the largest magnitude of all rows.
bool has_global_scale(const QuantizationArgs& args);
float global_scale_of(const at::Tensor& y);

// y^ = s k, the codes k found in float32 by ActivationQuantizer. L = mean over a row of (y^ - y)^2, straight through:
// codes are constants, and a scale follows the range of its group in proportion, also one that is itself rounded
// (E4M3, E8M0): ds/s = dr/r, r = max - min with 0 among them, or max |y| where symmetric. A global scale is given.
RowLoss quantization_loss(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer* quantizer);

}  // namespace spinor::learning
