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
  for (size_t d = tensor.info.shape.size() - 1; d-- > 0; row /= tensor.info.shape[d])
    at += row % tensor.info.shape[d] * tensor.strides[d];
  return at;
}

// Calls copy(memory, how many bytes of the range lie there, their place in the range) row by row.
template <typename Copy>
void for_memory(const MemoryTensor& tensor, int64_t offset, int64_t size, Copy copy) {
  const bool scalar = tensor.info.shape.empty();
  const int64_t entry = spinor::info(tensor.info.dtype).bits / 8;
  const int64_t row = scalar ? entry : tensor.info.shape.back() * entry;
  for (int64_t done = 0; done < size;) {
    const int64_t at = offset + done, within = at % row, bytes = std::min(size - done, row - within);
    copy((scalar ? tensor.data : row_at(tensor, at / row)) + within, static_cast<size_t>(bytes),
         static_cast<size_t>(done));
    done += bytes;
  }
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
  return {{.name = std::move(name), .dtype = dtype, .shape = std::move(shape), .begin = 0, .end = bytes},
          data,
          std::move(strides)};
}

void MemoryTensor::read(int64_t offset, std::span<std::byte> out) const {
  for_memory(*this, offset, std::ssize(out), [&](const std::byte* memory, size_t bytes, size_t place) {
    std::memcpy(out.data() + place, memory, bytes);
  });
}

void MemoryTensor::write(int64_t offset, std::span<const std::byte> bytes) const {
  for_memory(*this, offset, std::ssize(bytes),
             [&](std::byte* memory, size_t count, size_t place) { std::memcpy(memory, bytes.data() + place, count); });
}

}  // namespace spinor
