// The numbers of a weight, block by block, whether the checkpoint holds it as numbers or quantized.
#pragma once

#include <memory>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/io/checkpoint.h"
#include "spinor/quant/codec.h"

namespace spinor {

// Immutable; several threads may read at once, each into buffers of its own. Keeps references to both arguments.
class WeightReader {
 public:
  // Reads the scales of a quantized weight. Error for a dtype spinor does not compute with.
  WeightReader(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

  // Multiples that the origin and the size of blocks and tiles must have.
  Granularity granularity() const;
  int64_t stored_row_bytes(int64_t cols) const;  // of a row of a block that is so wide
  // The stored bytes of a block, row after row.
  void read(const Block& block, std::vector<std::byte>& bytes) const;
  // The tile, which lies in the block that `bytes` holds. T: float or double.
  template <typename T>
  void load(const Block& block, const std::vector<std::byte>& bytes, const Block& tile, MatrixView<T> out) const;

 private:
  const Checkpoint* checkpoint_;
  const CheckpointTensor* tensor_;
  std::unique_ptr<const WeightDecoder> decoder_;  // null: stored as numbers
};

}  // namespace spinor
