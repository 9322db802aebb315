// A weight that is made of what a checkpoint holds: quantized, transposed, or some rows of a matrix.
#pragma once

#include <vector>

#include "spinor/io/checkpoint.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {

// Its parts are as stored_tensors(layout) lists them, but weight_shape: the codes first.
struct EncodedWeight : StoredForm {
  WeightLayout layout = {};  // without a format: the first part is numbers, (rows, cols) of them
  // The weight is so many matrices one below the other, and each is encoded as its transpose; 0: it is encoded as it
  // is.
  int64_t transposed = 0;
  // Row i of the weight is row first + i * step of that.
  int64_t first = 0, step = 1;

  bool has_codes() const { return !layout.format.empty(); }
};

// How a weight of a model is stored; null: as it is. There is no other form that a model's weights have.
inline const EncodedWeight* encoded_of(const CheckpointTensor& tensor) {
  return static_cast<const EncodedWeight*>(tensor.form.get());
}

}  // namespace spinor
