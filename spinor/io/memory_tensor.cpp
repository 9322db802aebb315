#include "spinor/io/memory_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// Where a row begins.
std::byte* row_at(const MemoryTensor& tensor, int64_t row) {
  std::byte* at = tensor.data;
  for (size_t d = std::max<size_t>(tensor.info.shape.size(), 1) - 1; d-- > 0; row /= tensor.info.shape[d])
    at += row % tensor.info.shape[d] * tensor.strides[d];
  return at;
}

void move(const MemoryTensor& tensor, const MemoryTile& tile, std::byte* host, bool to_host) {
  if (tensor.copy) return tensor.copy(tile, host, to_host);
  for (int64_t i = 0; i < tile.rows; ++i, host += tile.width) {
    std::byte* memory = row_at(tensor, tile.row + i) + tile.begin;
    std::memcpy(to_host ? host : memory, to_host ? memory : host, static_cast<size_t>(tile.width));
  }
}

int64_t row_bytes(const MemoryTensor& tensor) {
  const int64_t entry = spinor::info(tensor.info.dtype).bits / 8;
  return tensor.info.shape.empty() ? entry : tensor.info.shape.back() * entry;
}

// Whole rows at once.
void move(const MemoryTensor& tensor, int64_t offset, int64_t size, std::byte* host, bool to_host) {
  const int64_t row = row_bytes(tensor);
  for (int64_t done = 0; done < size;) {
    const int64_t at = offset + done, within = at % row, rows = within == 0 ? (size - done) / row : 0;
    const MemoryTile tile = rows > 0 ? MemoryTile{at / row, rows, 0, row}
                                     : MemoryTile{at / row, 1, within, std::min(size - done, row - within)};
    move(tensor, tile, host + done, to_host);
    done += tile.rows * tile.width;
  }
}

void move(const MemoryTensor& tensor, const ByteRows& rows, std::byte* host, bool to_host) {
  const auto& [begin, count, width, stride] = rows;
  if (width == stride) return move(tensor, begin, count * width, host, to_host);
  if (stride == row_bytes(tensor))
    return move(tensor, MemoryTile{begin / stride, count, begin % stride, width}, host, to_host);
  for (int64_t i = 0; i < count; ++i) move(tensor, begin + i * stride, width, host + i * width, to_host);
}

// For writing: nothing is written there.
std::byte* pointer(std::span<const std::byte> bytes) {
  return const_cast<std::byte*>(bytes.data());
}

}  // namespace

MemoryTensor MemoryTensor::of(std::string name, DType dtype, std::vector<int64_t> shape, std::byte* data,
                              std::vector<int64_t> strides) {
  const int64_t bytes = checked_bytes(dtype, shape, name);
  if (strides.size() != shape.size())
    throw Error(name, fmt::format("has {} strides for {} dimensions", strides.size(), shape.size()));
  int64_t inner = spinor::info(dtype).bits / 8;
  for (size_t d = shape.size(); d-- > 0; inner *= shape[d]) {
    const bool last = d + 1 == shape.size();
    if (shape[d] <= 1 || bytes == 0 || (last ? strides[d] == inner : strides[d] >= inner)) continue;
    throw Error(name, last ? "has columns that are not contiguous" : "has rows that overlap, or go backwards",
                "make it contiguous first");
  }
  return {.info = {.name = std::move(name), .dtype = dtype, .shape = std::move(shape), .begin = 0, .end = bytes},
          .data = data,
          .strides = std::move(strides)};
}

void MemoryTensor::read(int64_t offset, std::span<std::byte> out) const {
  move(*this, offset, std::ssize(out), out.data(), true);
}

void MemoryTensor::write(int64_t offset, std::span<const std::byte> bytes) const {
  move(*this, offset, std::ssize(bytes), pointer(bytes), false);
}

void MemoryTensor::read(const ByteRows& rows, std::span<std::byte> out) const {
  move(*this, rows, out.first(static_cast<size_t>(rows.rows * rows.width)).data(), true);
}

void MemoryTensor::write(const ByteRows& rows, std::span<const std::byte> bytes) const {
  move(*this, rows, pointer(bytes.first(static_cast<size_t>(rows.rows * rows.width))), false);
}

}  // namespace spinor
