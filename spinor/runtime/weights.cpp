#include "spinor/runtime/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/plan/execute.h"

namespace spinor::runtime {
namespace {

// Every block that `wanted` asks for, as the rows it computes; visit runs on several threads.
template <typename T>
void for_blocks(const RewritePlan& plan, const TensorPlan& tensor, DType dtype, int threads,
                const std::function<bool(const Block&)>& wanted,
                const std::function<void(const Block&, const std::byte* rows, int64_t row_bytes)>& visit) {
  TensorProgram<T> program(plan, tensor, dtype);
  const Cut& cut = program.cut();
  if (threads <= 0) threads = default_threads();
  std::vector<typename TensorProgram<T>::Workspace> work(static_cast<size_t>(threads));
  for (int pass = 0; pass < observing_passes(tensor, dtype); ++pass) {
    parallel_for(cut.blocks(), threads, [&](int64_t block, int thread) {
      program.observe(pass, cut.block(block), work[static_cast<size_t>(thread)]);
    });
    program.end_pass(pass);
  }
  parallel_for(cut.blocks(), threads, [&](int64_t index, int thread) {
    const Block block = cut.block(index);
    if (!wanted(block)) return;
    auto& mine = work[static_cast<size_t>(thread)];
    program.compute(block, mine);
    visit(block, mine.output.data(), program.output_row_bytes(block.cols));
  });
}

template <typename... Arguments>
void for_blocks_in(Precision precision, Arguments&&... arguments) {
  if (precision == Precision::float32) return for_blocks<float>(std::forward<Arguments>(arguments)...);
  for_blocks<double>(std::forward<Arguments>(arguments)...);
}

}  // namespace

at::ScalarType torch_dtype(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return at::kDouble;
    case DType::F32:
      return at::kFloat;
    case DType::BF16:
      return at::kBFloat16;
    case DType::F16:
      return at::kHalf;
    default:
      throw Error(std::string(info(dtype).name), "is not a type that models are run in");
  }
}

Weights::Weights(RewritePlan plan, const RuntimeOptions& options) : plan_(std::move(plan)), options_(options) {
  plan_.dequantize(options.saved);
}

int64_t Weights::bytes() const {
  int64_t elements = 0;
  for (const TensorPlan& tensor : plan_.tensors()) elements += tensor.source->info.elements();
  return elements * info(options_.dtype).bits / 8;
}

const TensorPlan* Weights::find(std::string_view name) const {
  return plan_.find(name);
}

// A weight that is edited is first what save() would write.
DType Weights::computed_dtype(const TensorPlan& tensor) const {
  if (tensor.edits.empty() || quantization_of(tensor.edits)) return options_.dtype;
  return options_.saved.value_or(tensor.source->info.dtype);
}

// Where nothing is edited, numbers of up to 32 bits go through float unchanged.
Precision Weights::precision(const TensorPlan& tensor) const {
  return tensor.edits.empty() && tensor.source->info.dtype != DType::F64 ? Precision::float32 : plan_.precision();
}

at::Tensor Weights::compute(std::string_view name) const {
  if (const auto found = replaced_.find(name); found != replaced_.end()) return found->second;
  const TensorPlan* tensor = find(name);
  if (!tensor) return {};
  const TensorInfo& shape = tensor->source->info;
  return compute_rows(name, 0, shape.rows()).reshape(shape.shape);
}

at::Tensor Weights::compute_rows(std::string_view name, int64_t first, int64_t count) const {
  if (const auto found = replaced_.find(name); found != replaced_.end()) return found->second.narrow(0, first, count);
  const TensorPlan& tensor = *find(name);
  const DType dtype = computed_dtype(tensor);
  const int64_t cols = tensor.source->info.cols(), element = info(dtype).bits / 8, end = first + count;
  at::Tensor result = at::empty({count, cols}, torch_dtype(dtype));
  auto* out = static_cast<std::byte*>(result.data_ptr());
  for_blocks_in(
      precision(tensor), plan_, tensor, dtype, options_.threads,
      [&](const Block& block) { return block.row < end && block.row + block.rows > first; },
      [&](const Block& block, const std::byte* rows, int64_t row_bytes) {
        for (int64_t i = std::max(first, block.row); i < std::min(end, block.row + block.rows); ++i)
          std::memcpy(out + ((i - first) * cols + block.col) * element, rows + (i - block.row) * row_bytes,
                      static_cast<size_t>(row_bytes));
      });
  return result.to(at::Device(options_.device), torch_dtype(options_.dtype));
}

int64_t Weights::rows_at_once(std::string_view name) const {
  const TensorPlan& tensor = *find(name);
  const DType dtype = computed_dtype(tensor);
  const Cut cut = tensor_cut(tensor, dtype);
  const bool in_parts = cut.block_cols == cut.cols && observing_passes(tensor, dtype) == 0;
  return in_parts && !replaced_.contains(name) ? cut.block_rows : cut.rows;
}

at::Tensor Weights::compute_rows(std::string_view name, const at::Tensor& indices) const {
  const TensorPlan* tensor = find(name);
  const at::Tensor flat = indices.to(at::kCPU).reshape({-1}).contiguous();
  const int64_t* wanted = flat.data_ptr<int64_t>();
  const std::span<const int64_t> rows(wanted, static_cast<size_t>(flat.numel()));
  const DType dtype = computed_dtype(*tensor);
  const int64_t cols = tensor->source->info.cols(), element = info(dtype).bits / 8;
  at::Tensor result = at::empty({flat.numel(), cols}, torch_dtype(dtype));
  auto* out = static_cast<std::byte*>(result.data_ptr());
  const auto inside = [](const Block& block) {
    return [&block](int64_t row) { return row >= block.row && row < block.row + block.rows; };
  };
  for_blocks_in(
      precision(*tensor), plan_, *tensor, dtype, options_.threads,
      [&](const Block& block) { return std::ranges::any_of(rows, inside(block)); },
      [&](const Block& block, const std::byte* computed, int64_t row_bytes) {
        for (size_t i = 0; i < rows.size(); ++i)
          if (inside(block)(rows[i]))
            std::memcpy(out + (static_cast<int64_t>(i) * cols + block.col) * element,
                        computed + (rows[i] - block.row) * row_bytes, static_cast<size_t>(row_bytes));
      });
  std::vector<int64_t> shape = indices.sizes().vec();
  shape.push_back(cols);
  return result.to(at::Device(options_.device), torch_dtype(options_.dtype)).reshape(shape);
}

}  // namespace spinor::runtime
