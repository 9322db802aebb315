// Quantization of activations that gradients go through.
#pragma once

#include <ATen/core/Tensor.h>

#include "spinor/quant/activation.h"

namespace spinor::learning {

// x^, what codes of the rows of x stand for, as the quantizer finds them. Its gradient is that of x + c r: r is the
// range of the group that a scale is computed from (max - min with 0 among them, or max |x| where symmetric), to which
// scales are in proportion, and c = (x^ - x) / r, the error in units of it, is constant. So it goes straight through
// the rounding, and reaches the extremes of a group through the scale. A global scale is constant. x may be of float32
// or float64. Of quantizers that check_row_quantizer() lets pass.
at::Tensor straight_through(const at::Tensor& x, const ActivationQuantizer& quantizer, const QuantizationArgs& args);

}  // namespace spinor::learning
