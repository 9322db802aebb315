// The numbers of a weight, block by block, whether the checkpoint holds it as numbers or quantized.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/io/checkpoint.h"
#include "spinor/quant/decoder.h"

namespace spinor {

// Multiples that the origin and the size of blocks and tiles of the tensor must have.
Granularity source_granularity(const CheckpointTensor& tensor);

// Immutable; several threads may read at once, each into buffers of its own. Keeps references to both arguments.
class WeightReader {
 public:
  // Reads the scales of a quantized weight. Error for a dtype spinor does not compute with.
  WeightReader(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

  Granularity granularity() const { return source_granularity(*tensor_); }
  // The stored bytes of a block, as load() takes them.
  void read(const Block& block, std::vector<std::byte>& bytes) const;
  // The tile, which lies in the block that `bytes` holds. T: float or double.
  template <typename T>
  void load(const Block& block, const std::vector<std::byte>& bytes, const Block& tile, MatrixView<T> out) const;

 private:
  int64_t row_bytes(int64_t cols) const;  // of a row of the stored matrix that is so wide
  void read_stored(const Block& block, std::span<std::byte> bytes) const;
  template <typename T>
  void load_rows(const Block& block, const std::byte* bytes, const Block& tile, MatrixView<T> out) const;
  template <typename T>
  void load_stored(const Block& block, const std::byte* bytes, const Block& tile, MatrixView<T> out) const;
  template <typename T>
  void load_transposed(const Block& block, const std::byte* bytes, const Block& tile, std::vector<T>& scratch,
                       MatrixView<T> out) const;

  const Checkpoint* checkpoint_;
  const CheckpointTensor* tensor_;
  std::unique_ptr<const WeightDecoder> decoder_;  // null: stored as numbers
};

}  // namespace spinor
