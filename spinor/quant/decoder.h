// Codes back to the weight, tile by tile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {

// Reads a quantized weight back. Immutable: const members may run on several threads.
class WeightDecoder {
 public:
  // `small`: the bytes of every tensor of stored_tensors() but the first, in order. Error, about the tensor's suffix,
  // for a size or a weight_shape that is not the layout's, and for scales that are not finite.
  WeightDecoder(WeightLayout layout, std::vector<std::vector<std::byte>> small);
  ~WeightDecoder();
  WeightDecoder(WeightDecoder&&) noexcept;

  const WeightLayout& layout() const;
  Granularity granularity() const;
  int64_t row_bytes(int64_t cols) const;
  // The tile at (row, col) from its codes, row i of them at codes + i * stride. Values are those that
  // compressed-tensors computes in float32 from the stored scale; T is float or double. Error, about the suffix of the
  // codes, for NaN and for integers outside num_bits.
  template <typename T>
  void decode(int64_t row, int64_t col, const std::byte* codes, int64_t stride, MatrixView<T> out) const;

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace spinor
