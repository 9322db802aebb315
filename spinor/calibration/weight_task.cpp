#include "spinor/calibration/weight_task.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <variant>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/plan/outputs.h"
#include "spinor/quant/gptq.h"

namespace spinor {
namespace {

MatrixView<float> view(at::Tensor& x) {
  return {x.data_ptr<float>(), x.size(0), x.size(1), x.stride(0)};
}
MatrixView<const float> view(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.size(0), x.size(1), x.stride(0)};
}

// Row by row |x L|^2 with the Hessian's own L: without what was added to its diagonal.
at::Tensor output_squares(const at::Tensor& x, const HessianFactor& factor) {
  const at::Tensor order = at::tensor(factor.order, at::kLong);
  const at::Tensor outputs = x.index_select(1, order).mm(factor.lower.tril());
  const at::Tensor own =
      outputs.square().sum(1, false, at::kDouble) - factor.damping * x.square().sum(1, false, at::kDouble);
  return own.clamp_min(0);
}

}  // namespace

WeightTask::WeightTask(const TensorPlan& tensor, const WeightQuantization& quantization, DType dtype)
    : tensor_(&tensor), quantization_(&quantization) {
  encoder_ = std::make_unique<WeightEncoder>(make_encoder(tensor, quantization, dtype));
  report_.module = tensor.name.substr(0, tensor.name.rfind('.'));
  report_.rotated = std::ranges::any_of(tensor.edits, [](const Edit& edit) {
    return std::holds_alternative<MultiplyLeft>(edit) || std::holds_alternative<MultiplyRight>(edit);
  });
}

void WeightTask::observe(const at::Tensor& weight, int threads) {
  about(tensor_->name, [&] { observe_weight(*encoder_, view(weight), threads); });
}

void WeightTask::quantize(at::Tensor& weight, const Hessian& hessian, const HessianFactor* factor, int threads) {
  const int64_t rows = weight.size(0), cols = weight.size(1), row_bytes = encoder_->row_bytes(cols);
  codes_.resize(static_cast<size_t>(rows * row_bytes));
  report_.inputs = cols;
  report_.tokens = hessian.tokens();
  at::Tensor nearest = weight.clone();
  encoder_->quantize_dequantize(0, 0, view(nearest));
  if (!factor) {
    about(tensor_->name, [&] { encoder_->encode(0, 0, view(std::as_const(weight)), codes_.data(), row_bytes); });
    weight.copy_(nearest);
    report_.quantized = "nearest";
    return;
  }
  const at::Tensor original = weight.clone();
  for (const int64_t column : factor->dead) weight.select(1, column).zero_();
  at::Tensor codes = at::empty({rows, cols}, at::kByte);
  const MatrixView<uint8_t> code_view(codes.data_ptr<uint8_t>(), rows, cols, cols);
  about(tensor_->name, [&] {
    gptq(*encoder_, {view(weight), code_view, view(factor->lower), factor->order}, quantization_->gptq->block_size,
         threads);
    encoder_->pack(MatrixView<const uint8_t>(code_view.data, rows, cols, cols), codes_.data(), row_bytes);
  });
  const at::Tensor before = output_squares(original - nearest, *factor);
  at::Tensor after = output_squares(original - weight, *factor);
  const double outputs = std::max(output_squares(original, *factor).sum().item<double>(), 1e-300);
  for (int64_t i = 0; i < rows; ++i) {
    if (before[i].item<double>() >= after[i].item<double>()) continue;
    const at::Tensor row = original.narrow(0, i, 1);
    encoder_->encode(i, 0, view(row), codes_.data() + i * row_bytes, row_bytes);
    weight.select(0, i).copy_(nearest.select(0, i));
    after[i] = before[i];
    ++report_.nearest_rows;
  }
  report_.nearest_error = before.sum().item<double>() / outputs;
  report_.error = after.sum().item<double>() / outputs;
  report_.dampening_frac = factor->dampening_frac;
  report_.dead_columns = std::ssize(factor->dead);
}

at::Tensor WeightTask::read(const TensorPlan& tensor, const WeightLayout& layout, const PreparedTensors::Bytes& bytes) {
  return about(tensor.name, [&] {
    const WeightDecoder decoder(layout, {bytes.begin() + 1, bytes.end()});
    at::Tensor weight = at::empty({layout.rows, layout.cols}, at::kFloat);
    decoder.decode<float>(0, 0, bytes.front().data(), decoder.row_bytes(layout.cols), view(weight));
    return weight;
  });
}

PreparedTensors::Bytes WeightTask::bytes() const {
  PreparedTensors::Bytes bytes = {codes_};
  const size_t tensors = stored_tensors(encoder_->layout()).size();
  for (size_t i = 1; i < tensors; ++i) bytes.push_back(encoder_->small_tensor(i));
  return bytes;
}

}  // namespace spinor
