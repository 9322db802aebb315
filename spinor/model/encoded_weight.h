// A weight that a checkpoint holds quantized: which tensors it is made of, and how.
#pragma once

#include <vector>

#include "spinor/io/checkpoint.h"
#include "spinor/quant/codec.h"

namespace spinor {

struct EncodedWeight {
  WeightLayout layout;
  std::vector<CheckpointTensor> parts;  // as stored_tensors(layout) lists them, but weight_shape: the codes first
  // The weight is so many matrices one below the other, and each is encoded as its transpose; 0: it is encoded as it
  // is.
  int64_t transposed = 0;
};

}  // namespace spinor
