// What readers of quantized checkpoints (quantized_source.h), one a method, have in common.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/io/checkpoint.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {

// A quantized checkpoint while it is read. Readers add the weights that they find; what they did not consume stays as
// it is.
struct SourceReading {
  const Checkpoint& stored;
  const Json& quantization;  // config.json's quantization_config
  std::string subject;       // path of config.json
  std::vector<CheckpointTensor> weights = {};
  std::set<std::string> consumed = {};

  const CheckpointTensor* find(const std::string& name) const { return stored.find(name); }

  // `name` stands for the parts of `layout`; `names` are theirs, in the order of parts_of(). `shape` and `dtype` are
  // those of the weight as numbers. See EncodedWeight for `transposed`. Error naming the part that is missing, or is
  // not what the layout says; ones at the end of its shape do not matter.
  void add(const std::string& name, std::vector<int64_t> shape, DType dtype, WeightLayout layout,
           const std::vector<std::string>& names, int64_t transposed = 0);
};

// The tensors of a weight but weight_shape, which says no more than the layout and may be left out. Errors about
// `name`.
std::vector<StoredTensor> parts_of(const std::string& name, const WeightLayout& layout);

// The dtype of the model's other weights, which dequantized ones get too.
DType dense_dtype(const Checkpoint& checkpoint);

}  // namespace spinor
