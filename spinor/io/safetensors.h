// The safetensors container: 8 bytes of header length, a JSON header, then the tensors' bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/dtype.h"

namespace spinor {

class File;

struct TensorInfo {
  std::string name = {};
  DType dtype{};
  std::vector<int64_t> shape = {};
  int64_t begin = 0, end = 0;  // bytes, from the start of the file
  int row_dimensions = -1;     // how many dimensions are rows of the matrix; -1: all but the last

  int64_t bytes() const { return end - begin; }
  int64_t elements() const;
  // As a matrix (rows, cols): leading dimensions folded into rows, others into columns; a vector is one row; a scalar
  // is (1, 1).
  int64_t rows() const;
  int64_t cols() const;
  int64_t row_bytes() const;  // of a row; all bytes where rows do not begin at bytes
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  int64_t data_begin = 0;  // file offset of the first tensor byte
};

inline constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the safetensors library

// Bytes of dtype and shape. Throws Error(subject, ...) for a negative dimension, an overflow, or elements of less than
// a byte that do not fill their last byte.
int64_t checked_bytes(DType dtype, const std::vector<int64_t>& shape, std::string_view subject);

// Parses and validates everything before any tensor is touched: header length, JSON, known dtypes, shape * dtype = size
// with checked arithmetic, offsets contiguous from 0 and ending at file_bytes, no duplicate names. `header` is the
// first 8 + length bytes of the file (more is ignored). Throws Error(subject, ...), naming the tensor.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> header, int64_t file_bytes,
                                           std::string_view subject);

// The same for a file; the subject is its path.
SafetensorsHeader read_safetensors_header(const File& file);

// Lays tensors out as the safetensors library does (its order of dtypes descending, then name), sets begin / end, and
// returns the bytes before the first tensor: length, JSON, padding spaces to a multiple of 8. Throws on duplicate names
// and on what checked_bytes refuses.
std::string make_safetensors_header(std::vector<TensorInfo>& tensors,
                                    const std::map<std::string, std::string>& metadata);

}  // namespace spinor
