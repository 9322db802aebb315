#include "spinor/model/weight_reader.h"

#include <fmt/format.h>

#include <cstddef>
#include <span>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/model/encoded_weight.h"

namespace spinor {
namespace {

// work(), its Errors about this weight.
template <typename Work>
auto about(const CheckpointTensor& tensor, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(tensor.info.name, error.subject() + " " + error.problem(), error.hint());
  }
}

std::vector<std::byte> shape_bytes(const WeightLayout& layout) {
  const int64_t shape[] = {layout.rows, layout.cols};
  const auto bytes = std::as_bytes(std::span(shape));
  return {bytes.begin(), bytes.end()};
}

std::unique_ptr<const WeightDecoder> make_decoder(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  const EncodedWeight& encoded = *tensor.encoded;
  const std::vector<StoredTensor> stored = stored_tensors(encoded.layout);
  std::vector<std::vector<std::byte>> small;
  size_t part = 1;
  for (size_t i = 1; i < stored.size(); ++i)
    small.push_back(stored[i].suffix == "weight_shape" ? shape_bytes(encoded.layout)
                                                       : checkpoint.read(encoded.parts.at(part++)));
  return about(tensor, [&] { return std::make_unique<WeightDecoder>(encoded.layout, std::move(small)); });
}

// The tensor whose bytes are read.
const CheckpointTensor& codes_of(const CheckpointTensor& tensor) {
  return tensor.encoded ? tensor.encoded->parts.front() : tensor;
}

}  // namespace

WeightReader::WeightReader(const Checkpoint& checkpoint, const CheckpointTensor& tensor)
    : checkpoint_(&checkpoint), tensor_(&tensor) {
  if (tensor.encoded)
    decoder_ = make_decoder(checkpoint, tensor);
  else if (!info(tensor.info.dtype).editable)
    throw Error(tensor.info.name, fmt::format("cannot be computed with: its dtype is {}", info(tensor.info.dtype).name),
                "convert the checkpoint to BF16, F16 or F32 first");
}

Granularity WeightReader::granularity() const {
  return decoder_ ? decoder_->granularity() : Granularity{};
}

int64_t WeightReader::stored_row_bytes(int64_t cols) const {
  return decoder_ ? decoder_->row_bytes(cols) : cols * info(tensor_->info.dtype).bits / 8;
}

void WeightReader::read(const Block& block, std::vector<std::byte>& bytes) const {
  const CheckpointTensor& codes = codes_of(*tensor_);
  const int64_t row_bytes = stored_row_bytes(tensor_->info.cols()), width = stored_row_bytes(block.cols);
  bytes.resize(static_cast<size_t>(block.rows * width));
  if (width == row_bytes) return checkpoint_->read(codes, block.row * row_bytes, bytes);
  checkpoint_->expect_reads(codes);  // the panels beside this one are next, and a disk dislikes 8 KiB here and there
  for (int64_t i = 0; i < block.rows; ++i)
    checkpoint_->read(codes, (block.row + i) * row_bytes + stored_row_bytes(block.col),
                      std::span(bytes).subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)));
}

template <typename T>
void WeightReader::load(const Block& block, const std::vector<std::byte>& bytes, const Block& tile,
                        MatrixView<T> out) const {
  const int64_t width = stored_row_bytes(block.cols);
  const std::byte* first = bytes.data() + (tile.row - block.row) * width + stored_row_bytes(tile.col - block.col);
  if (decoder_) return about(*tensor_, [&] { decoder_->decode(tile.row, tile.col, first, width, out); });
  for (int64_t i = 0; i < tile.rows; ++i) spinor::load(tensor_->info.dtype, first + i * width, out.row(i), tile.cols);
}

template void WeightReader::load(const Block&, const std::vector<std::byte>&, const Block&, MatrixView<float>) const;
template void WeightReader::load(const Block&, const std::vector<std::byte>&, const Block&, MatrixView<double>) const;

}  // namespace spinor
