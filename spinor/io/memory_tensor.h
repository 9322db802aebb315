// A tensor in memory that somebody else owns, such as a parameter of a model in Python: this process's, or a device's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "spinor/io/safetensors.h"

namespace spinor {

// Of rows [row, row + rows) of a tensor as a matrix the bytes [begin, begin + width) each.
struct MemoryTile {
  int64_t row = 0, rows = 0, begin = 0, width = 0;
};

// Bytes [begin + i * stride, begin + i * stride + width) of a contiguous tensor, for each i < rows.
struct ByteRows {
  int64_t begin = 0, rows = 0, width = 0, stride = 0;
};

// Copies a tile of a tensor that lies elsewhere into `host`, one row behind the other, or from there. Several threads
// may call at once, for tiles that have nothing in common.
using TileCopy = std::function<void(const MemoryTile& tile, std::byte* host, bool to_host)>;

// Rows may be any distance apart; the entries of a row are contiguous.
struct MemoryTensor {
  TensorInfo info = {};  // begin and end: 0 and its bytes
  std::byte* data = nullptr;
  std::vector<int64_t> strides = {};  // bytes, of each dimension
  TileCopy copy = {};                 // of a tensor elsewhere, whose `data` is null

  // Checks the strides against the shape: Error where the last dimension is not contiguous, or entries of one row lie
  // in another.
  static MemoryTensor of(std::string name, DType dtype, std::vector<int64_t> shape, std::byte* data,
                         std::vector<int64_t> strides);

  // Bytes [offset, ...) of the tensor as a contiguous one has them. Whoever calls sees to it that no thread writes what
  // another one reads.
  void read(int64_t offset, std::span<std::byte> out) const;
  void write(int64_t offset, std::span<const std::byte> bytes) const;
  // One row behind the other: at once, where they are rows or columns of the tensor.
  void read(const ByteRows& rows, std::span<std::byte> out) const;
  void write(const ByteRows& rows, std::span<const std::byte> bytes) const;
};

}  // namespace spinor
