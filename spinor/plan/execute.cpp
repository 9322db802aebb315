#include "spinor/plan/execute.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/linalg/scale.h"
#include "spinor/plan/norm_bias.h"
#include "spinor/plan/outputs.h"
#include "spinor/plan/scale_vector.h"
#include "spinor/plan/stored_edits.h"

namespace spinor {
namespace {

constexpr int64_t kMostKept = 64 << 20;  // up to six weights are in flight: q, k, v observed, gate and up written

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

// Element (i, j) by by[j], of matrices of `cols` columns one below the other, which divide the `rows` of the tensor, by
// those of its own matrix.
template <typename T>
void scale_columns(MatrixView<T> x, const Block& tile, const std::vector<T>& by, int64_t rows, int64_t cols) {
  const int64_t rows_of_one = rows / (std::ssize(by) / cols);
  for (int64_t i = 0; i < x.rows; ++i)
    scale(x.row(i), by.data() + (tile.row + i) / rows_of_one * cols + tile.col, x.cols);
}

template <typename From, typename To>
void copy(MatrixView<From> from, MatrixView<To> to) {
  for (int64_t i = 0; i < from.rows; ++i) std::copy_n(from.row(i), from.cols, to.row(i));
}

template <typename T>
void fill(MatrixView<T> x, T value) {
  for (int64_t i = 0; i < x.rows; ++i) std::fill_n(x.row(i), x.cols, value);
}

// Row i by by[i modulo its size].
template <typename T>
void scale_rows(MatrixView<T> x, int64_t first, const std::vector<T>& by) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const T factor = by[static_cast<size_t>((first + i) % std::ssize(by))];
    for (int64_t j = 0; j < x.cols; ++j) x(i, j) *= factor;
  }
}

template <typename T>
void add_to_rows(MatrixView<T> x, const T* term) {
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) x(i, j) += term[j];
}

// One stored edit on one tile; an edit without an overload does not compile. What quantizes is the encoder's business.
template <typename T>
struct Editor {
  MatrixView<T> x;
  const Block& tile;
  const Cut& cut;
  bool transposed;
  const std::vector<T>& norm;
  std::vector<T>& scratch;

  void operator()(const FoldNorm& edit) const {
    if (transposed != edit.rows)
      scale_rows(x, tile.row, norm);
    else
      scale_columns(x, tile, norm, cut.rows, cut.cols);
  }
  void operator()(const FoldNormBias&) const { add_to_rows(x, norm.data() + tile.col); }
  void operator()(const FoldNormWithBias& edit) const {  // the tile has all inputs
    fold_with_level(x, norm.data(), norm.data() + norm.size() / 2, edit.transposed);
  }
  void operator()(const FillLevel&) const { fill(x, norm[0]); }
  void operator()(const CenterRows&) const { center_rows(x); }
  void operator()(const MultiplyRight& edit) const {
    if (!edit.part) return edit.r.multiply_right(x, scratch);
    for_runs(*edit.part, tile.col, tile.col + tile.cols, [&](int64_t begin, int64_t end) {
      edit.r.multiply_right(x.block(0, begin - tile.col, x.rows, end - begin), scratch);
    });
  }
  void operator()(const MultiplyLeft& edit) const {
    if (!edit.part) return edit.r.multiply_left(x, scratch);
    for_runs(*edit.part, tile.row, tile.row + tile.rows, [&](int64_t begin, int64_t end) {
      edit.r.multiply_left(x.block(begin - tile.row, 0, end - begin, x.cols), scratch);
    });
  }
  void operator()(const Scale& edit) const {
    if (transposed == edit.columns)
      scale_rows(x, tile.row, norm);
    else
      scale_columns(x, tile, norm, cut.rows, cut.cols);
  }
  void operator()(const Fill& edit) const { fill(x, static_cast<T>(edit.value)); }
  void operator()(const Quantize&) const {}
  void operator()(const QuantizeDequantize&) const {}
};

void check_divides(const std::string& tensor, int64_t size, int64_t side, const std::optional<Slice>& part,
                   const std::string& label) {
  if (part) side = part->period > 0 && side % part->period == 0 ? part->size : -1;
  if (size > 0 && side > 0 && side % size == 0) return;
  throw Error(tensor, fmt::format("{} has size {}, which does not divide {}", label, size, side));
}

void check_edits(const TensorPlan& tensor) {
  const TensorInfo& info = tensor.source->info;
  if (!tensor.edits.empty() && !spinor::info(info.dtype).editable)
    throw Error(tensor.name, fmt::format("cannot be edited: its dtype is {}", spinor::info(info.dtype).name),
                "convert the checkpoint to BF16, F16 or F32 first");
  for (const Edit& edit : tensor.edits) {
    if (const auto* right = std::get_if<MultiplyRight>(&edit))
      check_divides(tensor.name, right->r.size(), tensor.shape.in, right->part, right->label);
    if (const auto* left = std::get_if<MultiplyLeft>(&edit))
      check_divides(tensor.name, left->r.size(), tensor.shape.out, left->part, left->label);
    if (std::holds_alternative<Quantize>(edit) && &edit != &tensor.edits.back())
      throw Error(tensor.name, "cannot be edited after it was quantized", "quantize last");
  }
}

// What source and codes ask of the cut.
Granularity granularity_of(const TensorPlan& tensor, DType output) {
  Granularity codes;
  if (const WeightQuantization* quantization = quantization_of(tensor.edits))
    codes = about_tensor(tensor.name, [&] { return granularity(quantized_layout(tensor, *quantization, output)); });
  const Granularity source = source_granularity(*tensor.source);
  codes.rows = std::lcm(codes.rows, source.rows);
  codes.cols = std::lcm(codes.cols, source.cols);
  codes.read_rows = source.read_rows;
  return codes;
}

template <typename T>
std::vector<T> load_norm(const Checkpoint& checkpoint, const TensorPlan& tensor, const FoldNorm& fold) {
  const CheckpointTensor& norm = checkpoint.at(fold.norm);
  const int64_t n = norm.info.elements(), side = fold.rows ? tensor.shape.out : tensor.shape.in;
  if (n < 1 || side % n != 0)
    throw Error(tensor.name,
                fmt::format("has {} {}, but {} has {} elements", side, fold.rows ? "rows" : "columns", fold.norm, n));
  if (!info(norm.info.dtype).editable)
    throw Error(fold.norm, fmt::format("cannot be folded: its dtype is {}", info(norm.info.dtype).name));
  std::vector<T> scale(static_cast<size_t>(n));
  const std::vector<std::byte> bytes = checkpoint.read(norm);
  load(norm.info.dtype, bytes.data(), scale.data(), n);
  for (T& g : scale) {
    if (!std::isfinite(g)) throw Error(fold.norm, "contains NaN or infinity", "the checkpoint is damaged");
    g += static_cast<T>(fold.offset);
    if (fold.inverse) g = 1 / g;
  }
  for (int64_t i = n; i < side; ++i) scale.push_back(scale[static_cast<size_t>(i % n)]);
  if (fold.columns)
    for (int64_t i = 0; i < side; ++i)
      if (const int64_t at = i % fold.columns->period - fold.columns->begin; at < 0 || at >= fold.columns->size)
        scale[static_cast<size_t>(i)] = 1;
  return scale;
}

}  // namespace

Cut tensor_cut(const TensorPlan& tensor, DType output) {
  check_edits(tensor);
  const TensorInfo& source = tensor.source->info;
  // Types spinor does not compute with are copied as bytes: some of them are smaller than one.
  if (is_copied(*tensor.source)) return cut(source.bytes(), 1, 1, {});
  const int64_t bytes = std::max(element_bytes(source.dtype), element_bytes(output));
  return cut(source.rows(), source.cols(), bytes, stored_edits(tensor), granularity_of(tensor, output));
}

int observing_passes(const TensorPlan& tensor, DType output) {
  const WeightQuantization* quantization = quantization_of(tensor.edits);
  if (!quantization) return 0;
  const WeightEncoder encoder = make_encoder(tensor, *quantization, output);
  return encoder.passes(holds_groups(tensor_cut(tensor, output), encoder.granularity()));
}

int64_t kept_bytes(const TensorPlan& tensor, DType output) {
  if (observing_passes(tensor, output) == 0) return 0;
  const int64_t bytes = tensor.source->info.elements() * static_cast<int64_t>(sizeof(float));
  return bytes <= kMostKept ? bytes : 0;
}

template <typename T>
TensorProgram<T>::TensorProgram(const RewritePlan& plan, const TensorPlan& tensor, DType output)
    : checkpoint_(&plan.model().checkpoint()),
      tensor_(&tensor),
      edits_(stored_edits(tensor)),
      output_(output),
      cut_(tensor_cut(tensor, output)) {
  if (!is_copied(*tensor.source)) reader_.emplace(*checkpoint_, *tensor.source);
  for (const Edit& edit : edits_) {
    const auto* fold = std::get_if<FoldNorm>(&edit);
    const auto* scale = std::get_if<Scale>(&edit);
    const std::vector<double> others = scale ? scale_vector(tensor, *scale) : norm_bias_vector(plan, tensor, edit);
    norms_.push_back(fold ? load_norm<T>(*checkpoint_, tensor, *fold) : std::vector<T>(others.begin(), others.end()));
  }
  const auto quantizes = [](const Edit& edit) {
    return std::holds_alternative<Quantize>(edit) || std::holds_alternative<QuantizeDequantize>(edit);
  };
  quantizing_ = static_cast<size_t>(std::ranges::find_if(tensor.edits, quantizes) - tensor.edits.begin());
  if (const WeightQuantization* quantization = quantization_of(tensor.edits))
    encoder_ = std::make_unique<WeightEncoder>(make_encoder(tensor, *quantization, output));
}

template <typename T>
bool TensorProgram<T>::makes_codes() const {
  return encoder_ && std::holds_alternative<Quantize>(tensor_->edits.back());
}

template <typename T>
int64_t TensorProgram<T>::output_row_bytes(int64_t cols) const {
  if (!reader_) return cols;
  return makes_codes() ? encoder_->row_bytes(cols) : cols * element_bytes(output_);
}

template <typename T>
void TensorProgram<T>::read(const Block& block, Workspace& work) const {
  if (reader_) return reader_->read(block, work.source);
  work.source.resize(static_cast<size_t>(block.rows));
  checkpoint_->read(*tensor_->source, block.row, work.source);
}

template <typename T>
MatrixView<T> TensorProgram<T>::edit(const Block& block, const Block& tile, Workspace& work, size_t edits) const {
  const int64_t stride = tile_stride<T>(tile.cols);
  const MatrixView<T> x(aligned(work.tile, tile.rows * stride), tile.rows, tile.cols, stride);
  if (observed_) {
    copy(kept(tile), x);
  } else {
    reader_->load(block, work.source, tile, x);
  }
  for (size_t e = observed_ ? quantizing_ : 0; e < edits; ++e) {
    std::visit(Editor<T>{x, tile, cut_, tensor_->shape.transposed, norms_[e], work.scratch}, edits_[e]);
    if (!std::holds_alternative<QuantizeDequantize>(edits_[e])) continue;
    const MatrixView<float> y = values(tile, x, work);
    if (!y.data) break;  // x is found out where it is rounded
    encoder_->quantize_dequantize(tile.row, tile.col, y);
    copy(y, x);
  }
  return x;
}

// The tile in float; nothing if a value is not finite, because that has no code.
template <typename T>
MatrixView<float> TensorProgram<T>::values(const Block& tile, MatrixView<T> x, Workspace& work) const {
  const int64_t stride = tile_stride<float>(tile.cols);
  const MatrixView<float> y(aligned(work.values, tile.rows * stride), tile.rows, tile.cols, stride);
  bool finite = true;
  for (int64_t i = 0; i < x.rows; ++i)
    finite &= store(DType::F32, x.row(i), reinterpret_cast<std::byte*>(y.row(i)), x.cols);
  return finite ? y : MatrixView<float>();
}

// The place of a tile among the kept values.
template <typename T>
MatrixView<float> TensorProgram<T>::kept(const Block& tile) const {
  return MatrixView<float>(kept_.get(), cut_.rows, cut_.cols).block(tile.row, tile.col, tile.rows, tile.cols);
}

template <typename T>
void TensorProgram<T>::observe(int pass, const Block& block, Workspace& work) const {
  std::call_once(keeping_, [this] {
    const int64_t bytes = kept_bytes(*tensor_, output_);
    if (bytes > 0) kept_ = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(bytes) / sizeof(float));
  });
  if (!observed_) read(block, work);
  for (const Block& tile : cut_.tiles(block)) {
    const MatrixView<float> x = observed_ ? kept(tile) : values(tile, edit(block, tile, work, quantizing_), work);
    if (!x.data) fail_not_finite(block, tile, work);
    encoder_->observe(pass, tile.row, tile.col, x);
    if (kept_ && !observed_) copy(x, kept(tile));
  }
}

template <typename T>
void TensorProgram<T>::end_pass(int pass) {
  encoder_->end_pass(pass);
  observed_ = kept_ != nullptr;
}

template <typename T>
void TensorProgram<T>::compute(const Block& block, Workspace& work) const {
  if (!reader_) {
    read(block, work);
    work.output.swap(work.source);
    return;
  }
  work.output.resize(static_cast<size_t>(block.rows * output_row_bytes(block.cols)));
  if (observed_ && makes_codes()) {
    for (const Block& tile : cut_.tiles(block))
      encoder_->encode(tile.row, tile.col, kept(tile), place(block, tile, work), output_row_bytes(block.cols));
    return;
  }
  compute_tiles(block, work, [&](const Block& tile, MatrixView<T> x) {
    if (!round(block, tile, x, work)) fail_not_finite(block, tile, work);
  });
}

// The tile's place in work.output.
template <typename T>
std::byte* TensorProgram<T>::place(const Block& block, const Block& tile, Workspace& work) const {
  return work.output.data() + (tile.row - block.row) * output_row_bytes(block.cols) +
         output_row_bytes(tile.col - block.col);
}

// Into the tile's place in work.output. False if a value is not finite, or too large for the dtype.
template <typename T>
bool TensorProgram<T>::round(const Block& block, const Block& tile, MatrixView<T> x, Workspace& work) const {
  const int64_t width = output_row_bytes(block.cols);
  std::byte* out = place(block, tile, work);
  if (makes_codes()) {
    const MatrixView<float> y = values(tile, x, work);
    if (y.data) encoder_->encode(tile.row, tile.col, y, out, width);
    return y.data != nullptr;
  }
  bool finite = true;
  for (int64_t i = 0; i < tile.rows; ++i) finite &= store(output_, x.row(i), out + i * width, tile.cols);
  return finite;
}

template <typename T>
void TensorProgram<T>::fail_not_finite(const Block& block, const Block& tile, Workspace& work) const {
  Matrix<T> source(tile.rows, tile.cols);
  read(block, work);
  reader_->load(block, work.source, tile, source.view());
  const auto bad = std::ranges::find_if(source.data, [](T v) { return !std::isfinite(v); });
  if (bad == source.data.end())
    throw Error(tensor_->name, fmt::format("an edited value is too large for {}", info(output_).name),
                "ask for a wider type with --dtype bfloat16 or float32");
  const int64_t at = bad - source.data.begin();
  throw Error(
      tensor_->source->info.name,
      fmt::format("is not finite: {} at row {}, column {}", *bad, tile.row + at / tile.cols, tile.col + at % tile.cols),
      "the checkpoint is damaged");
}

template class TensorProgram<float>;
template class TensorProgram<double>;

}  // namespace spinor
