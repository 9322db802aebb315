#include "spinor/plan/execute.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"

namespace spinor {
namespace {

int64_t element_bytes(DType dtype) {
  return info(dtype).bits / 8;
}

// Rows of a power-of-two width would share cache sets; a cache line of padding spreads them.
template <typename T>
int64_t tile_stride(int64_t cols) {
  return cols + static_cast<int64_t>(64 / sizeof(T));
}

// Room for n elements from a cache line's start: vectors that straddle two lines cost the kernels a third of their
// speed.
template <typename T>
T* aligned(std::vector<T>& buffer, int64_t n) {
  constexpr size_t kLine = 64;
  buffer.resize(static_cast<size_t>(n) + kLine / sizeof(T));
  void* start = buffer.data();
  size_t room = buffer.size() * sizeof(T);
  return static_cast<T*>(std::align(kLine, static_cast<size_t>(n) * sizeof(T), start, room));
}

template <typename T>
void center_rows(MatrixView<T> x) {
  for (int64_t i = 0; i < x.rows; ++i) {
    T sum = 0;
    for (int64_t j = 0; j < x.cols; ++j) sum += x(i, j);
    const T mean = sum / static_cast<T>(x.cols);
    for (int64_t j = 0; j < x.cols; ++j) x(i, j) -= mean;
  }
}

template <typename T>
void scale_columns(MatrixView<T> x, const T* scale) {
  for (int64_t i = 0; i < x.rows; ++i) {
    T* row = x.row(i);
    for (int64_t j = 0; j < x.cols; ++j) row[j] *= scale[j];
  }
}

template <typename T>
void fill(MatrixView<T> x, T value) {
  for (int64_t i = 0; i < x.rows; ++i) std::fill_n(x.row(i), x.cols, value);
}

// One edit on one tile; an edit without an overload does not compile.
template <typename T>
struct Editor {
  MatrixView<T> x;
  const T* norm;
  std::vector<T>& scratch;

  void operator()(const FoldNorm&) const { scale_columns(x, norm); }
  void operator()(const CenterRows&) const { center_rows(x); }
  void operator()(const MultiplyRight& edit) const { edit.r.multiply_right(x, scratch); }
  void operator()(const MultiplyLeft& edit) const { edit.r.multiply_left(x, scratch); }
  void operator()(const Fill& edit) const { fill(x, static_cast<T>(edit.value)); }
};

void check_divides(const std::string& tensor, int64_t size, int64_t side, const std::string& label) {
  if (size > 0 && side % size == 0) return;
  throw Error(tensor, fmt::format("{} has size {}, which does not divide {}", label, size, side));
}

void check_edits(const TensorPlan& tensor) {
  const TensorInfo& info = tensor.source->info;
  if (!tensor.edits.empty() && !spinor::info(info.dtype).editable)
    throw Error(tensor.name, fmt::format("cannot be edited: its dtype is {}", spinor::info(info.dtype).name),
                "convert the checkpoint to BF16, F16 or F32 first");
  for (const Edit& edit : tensor.edits) {
    if (const auto* right = std::get_if<MultiplyRight>(&edit))
      check_divides(tensor.name, right->r.size(), info.cols(), right->label);
    if (const auto* left = std::get_if<MultiplyLeft>(&edit))
      check_divides(tensor.name, left->r.size(), info.rows(), left->label);
  }
}

template <typename T>
std::vector<T> load_norm(const Checkpoint& checkpoint, const TensorPlan& tensor, const FoldNorm& fold) {
  const CheckpointTensor& norm = checkpoint.at(fold.norm);
  const int64_t n = norm.info.elements(), cols = tensor.source->info.cols();
  if (n != cols) throw Error(tensor.name, fmt::format("has {} columns, but {} has {} elements", cols, fold.norm, n));
  if (!info(norm.info.dtype).editable)
    throw Error(fold.norm, fmt::format("cannot be folded: its dtype is {}", info(norm.info.dtype).name));
  std::vector<T> scale(static_cast<size_t>(n));
  const std::vector<std::byte> bytes = checkpoint.read(norm);
  load(norm.info.dtype, bytes.data(), scale.data(), n);
  for (T& g : scale) {
    if (!std::isfinite(g)) throw Error(fold.norm, "contains NaN or infinity", "the checkpoint is damaged");
    g += static_cast<T>(fold.offset);
  }
  return scale;
}

}  // namespace

Cut tensor_cut(const TensorPlan& tensor, DType output) {
  check_edits(tensor);
  const TensorInfo& source = tensor.source->info;
  // Types spinor does not compute with are copied as bytes: some of them are smaller than one.
  if (!info(source.dtype).editable) return cut(source.bytes(), 1, 1, {});
  const int64_t bytes = std::max(element_bytes(source.dtype), element_bytes(output));
  return cut(source.rows(), source.cols(), bytes, tensor.edits);
}

template <typename T>
TensorProgram<T>::TensorProgram(const RewritePlan& plan, const TensorPlan& tensor, DType output)
    : checkpoint_(&plan.model().checkpoint()), tensor_(&tensor), output_(output) {
  cut_ = tensor_cut(tensor, output);
  const DType source = tensor.source->info.dtype;
  if (info(source).editable) {
    source_bytes_ = element_bytes(source);
    output_bytes_ = element_bytes(output_);
  } else {
    output_ = source;
  }
  for (const Edit& edit : tensor.edits) {
    const auto* fold = std::get_if<FoldNorm>(&edit);
    norms_.push_back(fold ? load_norm<T>(*checkpoint_, tensor, *fold) : std::vector<T>{});
  }
}

template <typename T>
void TensorProgram<T>::read(const Block& block, Workspace& work) const {
  const CheckpointTensor& source = *tensor_->source;
  const int64_t element = source_bytes_;
  work.source.resize(static_cast<size_t>(block.rows * block.cols * element));
  if (block.cols == cut_.cols) {
    checkpoint_->read(source, block.row * cut_.cols * element, work.source);
    return;
  }
  const int64_t width = block.cols * element;
  for (int64_t i = 0; i < block.rows; ++i)
    checkpoint_->read(source, ((block.row + i) * cut_.cols + block.col) * element,
                      std::span(work.source).subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)));
}

template <typename T>
MatrixView<T> TensorProgram<T>::edit(const Block& block, const Block& tile, Workspace& work) const {
  const DType dtype = tensor_->source->info.dtype;
  const int64_t stride = tile_stride<T>(tile.cols);
  const MatrixView<T> x(aligned(work.tile, tile.rows * stride), tile.rows, tile.cols, stride);
  for (int64_t i = 0; i < tile.rows; ++i) {
    const int64_t at = (tile.row - block.row + i) * block.cols + tile.col - block.col;
    load(dtype, work.source.data() + at * source_bytes_, x.row(i), tile.cols);
  }
  for (size_t e = 0; e < tensor_->edits.size(); ++e)
    std::visit(Editor<T>{x, norms_[e].data() + tile.col, work.scratch}, tensor_->edits[e]);
  return x;
}

template <typename T>
void TensorProgram<T>::compute(const Block& block, Workspace& work) const {
  if (!info(tensor_->source->info.dtype).editable) {
    read(block, work);
    work.output.swap(work.source);
    return;
  }
  work.output.resize(static_cast<size_t>(block.rows * block.cols * output_bytes_));
  compute_tiles(block, work, [&](const Block& tile, MatrixView<T> x) {
    bool finite = true;
    for (int64_t i = 0; i < tile.rows; ++i) {
      const int64_t at = (tile.row - block.row + i) * block.cols + tile.col - block.col;
      finite &= store(output_, x.row(i), work.output.data() + at * output_bytes_, tile.cols);
    }
    if (!finite) fail_not_finite(block, tile, work);
  });
}

template <typename T>
void TensorProgram<T>::fail_not_finite(const Block& block, const Block& tile, Workspace& work) const {
  const DType dtype = tensor_->source->info.dtype;
  std::vector<T> row(static_cast<size_t>(tile.cols));
  for (int64_t i = 0; i < tile.rows; ++i) {
    const int64_t at = (tile.row - block.row + i) * block.cols + tile.col - block.col;
    load(dtype, work.source.data() + at * source_bytes_, row.data(), tile.cols);
    const auto bad = std::find_if(row.begin(), row.end(), [](T v) { return !std::isfinite(v); });
    if (bad == row.end()) continue;
    throw Error(
        tensor_->source->info.name,
        fmt::format("is not finite: {} at row {}, column {}", *bad, tile.row + i, tile.col + (bad - row.begin())),
        "the checkpoint is damaged");
  }
  throw Error(tensor_->name, fmt::format("an edited value is too large for {}", info(output_).name),
              "ask for a wider type with --dtype bfloat16 or float32");
}

template class TensorProgram<float>;
template class TensorProgram<double>;

}  // namespace spinor
