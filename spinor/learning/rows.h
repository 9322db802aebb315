// Rows that rotations are learned from: in memory, or in a file where that is too much.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include "spinor/io/file.h"

namespace spinor::learning {

// In bfloat16, one row after the other, from a byte of the file on.
struct RowsInFile {
  std::shared_ptr<const File> file;
  int64_t begin = 0, count = 0, width = 0;
};

// (count, width). A value; copies share the numbers.
class Rows {
 public:
  Rows() = default;                                    // none
  Rows(at::Tensor rows) : memory_(std::move(rows)) {}  // NOLINT: implicit. Of any type, on any device
  explicit Rows(RowsInFile rows) : stored_(std::move(rows)) {}

  bool defined() const { return memory_.defined() || stored_.file; }
  int64_t count() const { return memory_.defined() ? memory_.size(0) : stored_.count; }
  int64_t width() const { return memory_.defined() ? memory_.size(1) : stored_.width; }
  at::Device device() const { return memory_.defined() ? memory_.device() : at::Device(at::kCPU); }
  const RowsInFile& stored() const { return stored_; }  // without a file: they are in memory

  at::Tensor slice(int64_t first, int64_t count) const;
  at::Tensor all() const { return slice(0, count()); }
  // Those of these numbers, in ascending order so that a file is read from its begin to its end.
  at::Tensor gather(std::span<const int64_t> numbers) const;

 private:
  at::Tensor memory_;
  RowsInFile stored_;
};

// Room for rows that come one after the other.
class RowBuffer {
 public:
  // (at most `rows`, width), in memory; in the file, which is large enough, from this byte on.
  RowBuffer(int64_t rows, int64_t width, std::shared_ptr<File> file = {}, int64_t begin = 0);

  void append(const at::Tensor& rows);  // (some, width), of any type, on any device
  bool empty() const { return filled_ == 0; }
  // What has come so far, each row cut into several of this width.
  Rows rows(int64_t width) const;

 private:
  int64_t capacity_, width_, filled_ = 0;
  at::Tensor memory_;
  std::shared_ptr<File> file_;
  int64_t begin_;
};

// Buffers that are all in memory, or all in one file.
class RowStore {
 public:
  // bytes: of all buffers that will be asked for. If they are more than `memory`, in a file at this path, whose room is
  // taken at once: Error if the disk has less. Unless it is to be kept, it is deleted when the program ends, however
  // that is.
  RowStore(int64_t bytes, int64_t memory, const std::filesystem::path& path, bool keep);

  RowBuffer buffer(int64_t rows, int64_t width);
  void sync();  // nothing will be added: what is kept survives a power failure

  static int64_t bytes(int64_t rows, int64_t width) { return rows * width * 2; }

 private:
  std::shared_ptr<File> file_;
  bool keep_;
  int64_t end_ = 0;
};

}  // namespace spinor::learning
