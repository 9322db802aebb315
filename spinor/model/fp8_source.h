// Checkpoints of quant_method fp8 and fbgemm_fp8: F8_E4M3 codes, and scales that multiply them.
#pragma once

#include "spinor/model/source_reading.h"

namespace spinor {

// Every F8_E4M3 tensor is such a weight. Its scale has one of the names that are published:
//   weight_scale_inv  DeepSeek, Qwen3, Mistral; of a parameter of another name, <name>_scale_inv
//   weight_scale      AutoFP8, FBGEMM
//   qscale_weight     Mistral Large
//   scale             DeepSeek-V4
// and is one number, one an output channel, or one a block of weight_block_size (128 x 128 where config.json does not
// say), in F32, F16, BF16 or, as powers of two, F8_E8M0. Modules that were left out (ignored_layers,
// modules_to_not_convert) are stored as numbers, which says it. Error for such a tensor without a scale, and for a
// scale of another shape or type.
void read_fp8(SourceReading& reading);

}  // namespace spinor
