#include "spinor/model/weight_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/model/encoded_weight.h"
#include "spinor/quant/about_tensor.h"

namespace spinor {
namespace {

std::vector<std::byte> shape_bytes(const WeightLayout& layout) {
  const int64_t shape[] = {layout.rows, layout.cols};
  const auto bytes = std::as_bytes(std::span(shape));
  return {bytes.begin(), bytes.end()};
}

std::unique_ptr<const WeightDecoder> make_decoder(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  const EncodedWeight& encoded = *encoded_of(tensor);
  const std::vector<StoredTensor> stored = stored_tensors(encoded.layout);
  std::vector<std::vector<std::byte>> small;
  size_t part = 1;
  for (size_t i = 1; i < stored.size(); ++i)
    small.push_back(stored[i].suffix == "weight_shape" ? shape_bytes(encoded.layout)
                                                       : checkpoint.read(encoded.parts.at(part++)));
  return about_tensor(tensor.info.name,
                      [&] { return std::make_unique<WeightDecoder>(encoded.layout, std::move(small)); });
}

// The tensor whose bytes are read.
const CheckpointTensor& codes_of(const CheckpointTensor& tensor) {
  return tensor.form ? tensor.form->parts.front() : tensor;
}

// A block of the tensor as rows of the matrix that it is some rows of.
Block unstrided(const CheckpointTensor& tensor, const Block& block) {
  const EncodedWeight* encoded = encoded_of(tensor);
  if (!encoded) return block;
  return {encoded->first + block.row * encoded->step, block.col, (block.rows - 1) * encoded->step + 1, block.cols};
}

bool is_transposed(const CheckpointTensor& tensor) {
  const EncodedWeight* encoded = encoded_of(tensor);
  return encoded && encoded->transposed > 0;
}

// Rows of one of the stored matrices, which are columns when they are turned.
int64_t stored_height(const CheckpointTensor& tensor) {
  const EncodedWeight& encoded = *encoded_of(tensor);
  return encoded.layout.rows / encoded.transposed;
}

// A block, unstrided, in terms of what is stored: as it is, or a block of each matrix that is stored transposed.
std::vector<Block> stored_blocks(const CheckpointTensor& tensor, const Block& block) {
  if (!is_transposed(tensor)) return {block};
  const int64_t rows = encoded_of(tensor)->layout.cols, height = stored_height(tensor);
  std::vector<Block> stored;
  for (int64_t row = block.row; row < block.row + block.rows;) {
    const int64_t end = std::min(block.row + block.rows, (row / rows + 1) * rows);
    stored.push_back({row / rows * height + block.col, row % rows, block.cols, end - row});
    row = end;
  }
  return stored;
}

}  // namespace

Granularity source_granularity(const CheckpointTensor& tensor) {
  if (!tensor.form) return {};
  const EncodedWeight& encoded = *encoded_of(tensor);
  const Granularity stored = encoded.has_codes() ? granularity(encoded.layout) : Granularity();
  if (!is_transposed(tensor)) return stored;
  return {.rows = std::lcm(stored.cols, stored.group_cols), .cols = 1, .read_rows = encoded.layout.cols / encoded.step};
}

WeightReader::WeightReader(const Checkpoint& checkpoint, const CheckpointTensor& tensor)
    : checkpoint_(&checkpoint), tensor_(&tensor) {
  if (const EncodedWeight* encoded = encoded_of(tensor); encoded && encoded->has_codes())
    decoder_ = make_decoder(checkpoint, tensor);
  else if (!info(tensor.info.dtype).editable)
    throw Error(tensor.info.name, fmt::format("cannot be computed with: its dtype is {}", info(tensor.info.dtype).name),
                "convert the checkpoint to BF16, F16 or F32 first");
}

int64_t WeightReader::row_bytes(int64_t cols) const {
  return decoder_ ? decoder_->row_bytes(cols) : cols * info(tensor_->info.dtype).bits / 8;
}

void WeightReader::read(const Block& block, std::vector<std::byte>& bytes) const {
  size_t size = 0;
  for (const Block& stored : stored_blocks(*tensor_, unstrided(*tensor_, block)))
    size += static_cast<size_t>(stored.rows * row_bytes(stored.cols));
  bytes.resize(size);
  std::span<std::byte> rest(bytes);
  for (const Block& stored : stored_blocks(*tensor_, unstrided(*tensor_, block))) {
    const auto part = static_cast<size_t>(stored.rows * row_bytes(stored.cols));
    read_stored(stored, rest.first(part));
    rest = rest.subspan(part);
  }
}

void WeightReader::read_stored(const Block& block, std::span<std::byte> bytes) const {
  const CheckpointTensor& codes = codes_of(*tensor_);
  const int64_t cols = tensor_->form ? encoded_of(*tensor_)->layout.cols : tensor_->info.cols();
  const int64_t row = row_bytes(cols), width = row_bytes(block.cols);
  if (width == row) return checkpoint_->read(codes, block.row * row, bytes);
  const ByteRows rows{block.row * row + row_bytes(block.col), block.rows, width, row};
  if (codes.memory) return codes.memory->read(rows, bytes);
  checkpoint_->expect_reads(codes);  // the panels beside this one are next, and a disk dislikes 8 KiB here and there
  for (int64_t i = 0; i < block.rows; ++i)
    checkpoint_->read(codes, rows.begin + i * row,
                      bytes.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)));
}

template <typename T>
void WeightReader::load(const Block& block, const std::vector<std::byte>& bytes, const Block& tile,
                        MatrixView<T> out) const {
  const Block from = unstrided(*tensor_, block), part = unstrided(*tensor_, tile);
  if (part.rows == tile.rows) return load_rows(from, bytes.data(), part, out);
  Matrix<T> rows(part.rows, part.cols);
  load_rows(from, bytes.data(), part, rows.view());
  const int64_t step = encoded_of(*tensor_)->step;
  for (int64_t i = 0; i < tile.rows; ++i) std::copy_n(rows.view().row(i * step), tile.cols, out.row(i));
}

// Of blocks that are unstrided.
template <typename T>
void WeightReader::load_rows(const Block& block, const std::byte* bytes, const Block& tile, MatrixView<T> out) const {
  if (!is_transposed(*tensor_)) return load_stored(block, bytes, tile, out);
  const auto matrix = [&](const Block& stored) { return stored.row / stored_height(*tensor_); };
  std::vector<T> scratch;
  for (const Block& stored : stored_blocks(*tensor_, block)) {
    for (const Block& mine : stored_blocks(*tensor_, tile))
      if (matrix(mine) == matrix(stored)) {
        load_transposed(stored, bytes, mine, scratch, out);
        out = out.block(mine.cols, 0, out.rows - mine.cols, out.cols);
      }
    bytes += stored.rows * row_bytes(stored.cols);
  }
}

// A tile of the stored matrix, its columns as rows of out.
template <typename T>
void WeightReader::load_transposed(const Block& block, const std::byte* bytes, const Block& tile,
                                   std::vector<T>& scratch, MatrixView<T> out) const {
  constexpr int64_t kRows = 64;  // a cache line of every row of out, and more
  scratch.resize(static_cast<size_t>(kRows * tile.cols));
  for (int64_t first = 0; first < tile.rows; first += kRows) {
    const Block some{tile.row + first, tile.col, std::min(kRows, tile.rows - first), tile.cols};
    const MatrixView<T> rows(scratch.data(), some.rows, some.cols);
    load_stored(block, bytes, some, rows);
    for (int64_t j = 0; j < some.cols; ++j)
      for (int64_t i = 0; i < some.rows; ++i) out(j, first + i) = rows(i, j);
  }
}

template <typename T>
void WeightReader::load_stored(const Block& block, const std::byte* bytes, const Block& tile, MatrixView<T> out) const {
  const int64_t width = row_bytes(block.cols);
  const std::byte* first = bytes + (tile.row - block.row) * width + row_bytes(tile.col - block.col);
  if (decoder_)
    return about_tensor(tensor_->info.name, [&] { decoder_->decode(tile.row, tile.col, first, width, out); });
  for (int64_t i = 0; i < tile.rows; ++i) spinor::load(tensor_->info.dtype, first + i * width, out.row(i), tile.cols);
}

template void WeightReader::load(const Block&, const std::vector<std::byte>&, const Block&, MatrixView<float>) const;
template void WeightReader::load(const Block&, const std::vector<std::byte>&, const Block&, MatrixView<double>) const;

}  // namespace spinor
