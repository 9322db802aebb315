// A checkpoint whose weights are stored quantized, read as the numbers they stand for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/family/architecture.h"
#include "spinor/io/checkpoint.h"

namespace spinor {

struct QuantizedSource {
  Checkpoint checkpoint;       // every weight under its plain name and shape; config.json without what says quantized
  std::string method;          // "compressed-tensors", "fp8", "fbgemm_fp8", "mxfp4"
  Json quantization;           // the stored config.json's quantization_config
  Json transform_config = {};  // of compressed-tensors; null: none
  Checkpoint stored;           // as it is, with the matrices of online transforms
  std::vector<std::string> dropped = {};  // tensors that only say how activations are quantized
};

// What config.json's quantization_config (or compression_config, or that of its text_config) says, and the tensors
// agree with:
//   compressed-tensors  every format that spinor writes, also as llm-compressor writes it
//   fp8, fbgemm_fp8     F8_E4M3 weights with scales a tensor, a channel or a block (fp8_source.h)
//   mxfp4               stacks of experts in blocks and scales, as gpt-oss is published
// `row` is that of config.json's architecture, null if spinor does not know it; targets of groups find modules by their
// names in the files and in memory, and by their classes. Reads headers, and the weight_shape of packed weights.
// Nothing if the checkpoint is not quantized. Errors: another method, by name; a quantized tensor that no group
// targets; one that is missing or has another shape or dtype than the scheme says.
std::optional<QuantizedSource> read_quantized(const Checkpoint& checkpoint, const Architecture* row);

}  // namespace spinor
