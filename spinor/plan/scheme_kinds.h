// Kinds of schemes that programs have kernels for, each as one question.
#pragma once

#include "spinor/quant/scheme.h"

namespace spinor {

// Integers in rows or groups, pack-quantized:
bool is_packed_a16(const QuantizationScheme& scheme);  // inputs as they are
bool is_packed_int(const QuantizationScheme& scheme);  // symmetric dynamic inputs of 4 or 8 bits
bool is_packed_fp8(const QuantizationScheme& scheme);  // 4 bits in groups of 128, FP8 inputs per token
// int-quantized:
bool is_w4a8_int(const QuantizationScheme& scheme);
bool is_w8a8_int(const QuantizationScheme& scheme);
// FP8, of a tensor, rows or blocks:
bool is_w8a8_fp8(const QuantizationScheme& scheme);
bool is_w8a16_fp8(const QuantizationScheme& scheme);
// Inputs as they are, or:
bool is_nvfp4(const QuantizationScheme& scheme);  // NVFP4
bool is_mxfp4(const QuantizationScheme& scheme);  // MXFP4 or FP8
bool is_mxfp8(const QuantizationScheme& scheme);  // MXFP8
// Integers of 2, 4 or 8 bits, with static INT8 inputs and outputs.
bool is_static_a8o8_int(const QuantizationScheme& scheme);

}  // namespace spinor
