#include "spinor/learning/rows.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

namespace spinor::learning {
namespace {

std::span<std::byte> bytes_of(const at::Tensor& rows) {
  return {static_cast<std::byte*>(rows.data_ptr()), rows.nbytes()};
}

}  // namespace

at::Tensor Rows::slice(int64_t first, int64_t count) const {
  if (memory_.defined()) return memory_.narrow(0, first, count);
  const at::Tensor rows = at::empty({count, stored_.width}, at::kBFloat16);
  stored_.file->read(stored_.begin + RowStore::bytes(first, stored_.width), bytes_of(rows));
  return rows;
}

at::Tensor Rows::gather(std::span<const int64_t> numbers) const {
  if (memory_.defined()) {
    const at::Tensor index = at::tensor(std::vector<int64_t>(numbers.begin(), numbers.end()), at::kLong);
    return memory_.index_select(0, index.to(memory_.device()));
  }
  const int64_t row_bytes = RowStore::bytes(1, stored_.width);
  const auto place = [&](int64_t number) { return stored_.begin + number * row_bytes; };
  for (const int64_t number : numbers) stored_.file->expect_reads(place(number), row_bytes);
  const at::Tensor rows = at::empty({std::ssize(numbers), stored_.width}, at::kBFloat16);
  std::span<std::byte> left = bytes_of(rows);
  for (const int64_t number : numbers) {
    stored_.file->read(place(number), left.first(static_cast<size_t>(row_bytes)));
    left = left.subspan(static_cast<size_t>(row_bytes));
  }
  return rows;
}

RowBuffer::RowBuffer(int64_t rows, int64_t width, std::shared_ptr<File> file, int64_t begin)
    : capacity_(rows), width_(width), file_(std::move(file)), begin_(begin) {}

void RowBuffer::append(const at::Tensor& rows) {
  if (file_) {
    const at::Tensor narrow = rows.to(at::kCPU, at::kBFloat16).contiguous();
    file_->write(begin_ + RowStore::bytes(filled_, width_), bytes_of(narrow));
  } else {
    if (!memory_.defined()) memory_ = at::empty({capacity_, width_}, at::kBFloat16);
    memory_.narrow(0, filled_, rows.size(0)).copy_(rows);
  }
  filled_ += rows.size(0);
}

Rows RowBuffer::rows(int64_t width) const {
  if (file_) return Rows(RowsInFile{file_, begin_, filled_ * (width_ / width), width});
  return memory_.narrow(0, 0, filled_).view({-1, width});
}

RowStore::RowStore(int64_t bytes, int64_t memory, const std::filesystem::path& path, bool keep) : keep_(keep) {
  if (bytes <= memory) return;
  file_ = std::make_shared<File>(File::create(path, bytes));
  if (!keep) with_system_errors([&] { std::filesystem::remove(path); });
}

RowBuffer RowStore::buffer(int64_t rows, int64_t width) {
  const int64_t begin = end_;
  end_ += bytes(rows, width);
  return {rows, width, file_, begin};
}

void RowStore::sync() {
  if (file_ && keep_) file_->sync();
}

}  // namespace spinor::learning
