// A tensor in memory that somebody else owns, such as a parameter of a model in Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "spinor/io/safetensors.h"

namespace spinor {

// Rows may be any distance apart; the entries of a row are contiguous.
struct MemoryTensor {
  TensorInfo info = {};  // begin and end: 0 and its bytes
  std::byte* data = nullptr;
  std::vector<int64_t> strides = {};  // bytes, of each dimension

  // Checks the strides against the shape: Error where the last dimension is not contiguous, or entries of one row lie
  // in another.
  static MemoryTensor of(std::string name, DType dtype, std::vector<int64_t> shape, std::byte* data,
                         std::vector<int64_t> strides);

  // Bytes [offset, ...) of the tensor as a contiguous one has them. Whoever calls sees to it that no thread writes what
  // another one reads.
  void read(int64_t offset, std::span<std::byte> out) const;
  void write(int64_t offset, std::span<const std::byte> bytes) const;
};

}  // namespace spinor
