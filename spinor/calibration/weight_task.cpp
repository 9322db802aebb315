#include "spinor/calibration/weight_task.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/calibration/on_each.h"
#include "spinor/plan/outputs.h"
#include "spinor/quant/decoder.h"
#include "spinor/quant/gptq.h"

namespace spinor::calibration {
namespace {

MatrixView<float> view(at::Tensor& x) {
  return {x.data_ptr<float>(), x.size(0), x.size(1), x.stride(0)};
}
MatrixView<const float> view(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.size(0), x.size(1), x.stride(0)};
}

constexpr int64_t kRows = 512;  // of a weight whose outputs are computed at once

// |x L|^2 for each row, from columns in their own order.
at::Tensor damped_squares(const at::Tensor& x, const HessianFactor& factor, int threads) {
  const at::Tensor order = at::tensor(factor.order, at::kLong);
  std::vector<at::Tensor> squares = x.split(kRows);
  on_each(std::ssize(squares), threads, [&](int64_t i) {
    at::Tensor& rows = squares[static_cast<size_t>(i)];
    rows = rows.index_select(1, order).mm(factor.lower).square().sum(1, false, at::kDouble);
  });
  return at::cat(squares);
}

// Without what was added to the diagonal: x H x', in which dead columns do not count.
at::Tensor output_squares(const at::Tensor& damped, const at::Tensor& x, const HessianFactor& factor) {
  return (damped - factor.damping * x.square().sum(1, false, at::kDouble)).clamp_min(0);
}

void clear_columns(at::Tensor x, const std::vector<int64_t>& columns) {
  for (const int64_t column : columns) x.select(1, column).zero_();
}

}  // namespace

WeightTask::WeightTask(const TensorPlan& tensor, const WeightQuantization& quantization, DType dtype)
    : tensor_(&tensor), quantization_(&quantization) {
  encoder_ = std::make_unique<WeightEncoder>(make_encoder(tensor, quantization, dtype));
  report_.inputs = encoder_->layout().cols;
  report_.module = tensor.name.substr(0, tensor.name.rfind('.'));
  report_.rotated = std::ranges::any_of(tensor.edits, [](const Edit& edit) {
    return std::holds_alternative<MultiplyLeft>(edit) || std::holds_alternative<MultiplyRight>(edit);
  });
}

void WeightTask::observe(const at::Tensor& weight, const Hessian* hessian, int threads) {
  report_.tokens = hessian ? hessian->tokens() : 0;
  report_.quantized = "nearest";
  if (by_gptq()) warn_about_tokens();
  if (quantization_->importance) weigh_columns(hessian);
  about_tensor(tensor_->name, [&] { observe_weight(*encoder_, view(weight), threads); });
}

void WeightTask::warn_about_tokens() {
  if (report_.tokens == 0)
    report_.warnings.push_back("no calibration token reached it; its weights take the nearest codes");
  else if (report_.tokens < report_.inputs)
    report_.warnings.push_back(
        "fewer calibration tokens reached it than it has inputs; use more --calibration-samples");
}

void WeightTask::weigh_columns(const Hessian* hessian) {
  if (hessian) {
    const at::Tensor squares = hessian->diagonal().to(at::kCPU).contiguous();
    report_.quantized = "imatrix";
    if (encoder_->set_importance({squares.const_data_ptr<float>(), static_cast<size_t>(squares.size(0))})) return;
  }
  report_.quantized = "nearest";
  const char* why = hessian ? "all its inputs are 0 on the calibration text" : "no calibration token reached it";
  if (quantization_->observer.strict)
    throw Error(report_.module, std::string(why) + ", and its imatrix observer is strict",
                "use more --calibration-samples, or leave strict out");
  report_.warnings.push_back(std::string(why) + "; in the search for its scales all inputs weigh the same");
}

void WeightTask::quantize(const at::Tensor& weight, const HessianFactor* factor, int threads) {
  codes_.resize(static_cast<size_t>(weight.size(0) * encoder_->row_bytes(weight.size(1))));
  if (factor) return find_codes(weight, *factor, threads);
  encode_rows(weight, 0, weight.size(0));
  if (by_gptq() && report_.tokens > 0)
    report_.warnings.push_back(
        "its Hessian has no Cholesky factor, even with 1000 times the dampening; its weights take the nearest codes");
}

void WeightTask::find_codes(const at::Tensor& weight, const HessianFactor& factor, int threads) {
  const int64_t rows = weight.size(0), cols = weight.size(1);
  report_.quantized = "gptq";
  at::Tensor wanted = weight;
  if (!factor.dead.empty()) clear_columns(wanted = weight.clone(), factor.dead);
  at::Tensor nearest = weight.clone();
  encoder_->quantize_dequantize(0, 0, view(nearest));
  clear_columns(nearest, factor.dead);
  nearest.sub_(wanted);
  const at::Tensor before = output_squares(damped_squares(nearest, factor, threads), nearest, factor);
  nearest.reset();
  at::Tensor found = wanted.clone(), codes = at::empty({rows, cols}, at::kByte);
  const MatrixView<uint8_t> code_view(codes.data_ptr<uint8_t>(), rows, cols, cols);
  std::vector<double> errors = about_tensor(tensor_->name, [&] {
    return gptq(*encoder_, {view(found), code_view, view(factor.lower), factor.order}, quantization_->gptq->block_size,
                threads);
  });
  encoder_->pack(MatrixView<const uint8_t>(code_view.data, rows, cols, cols), codes_.data(), encoder_->row_bytes(cols));
  const at::Tensor after = output_squares(at::tensor(errors, at::kDouble), found.sub_(wanted), factor);
  for (int64_t i = 0; i < rows; ++i) {
    if (before[i].item<double>() >= after[i].item<double>()) continue;
    encode_rows(weight, i, 1);
    ++report_.nearest_rows;
  }
  const double outputs = output_squares(damped_squares(wanted, factor, threads), wanted, factor).sum().item<double>();
  note_errors(before, at::minimum(before, after), outputs, factor);
}

void WeightTask::encode_rows(const at::Tensor& weight, int64_t first, int64_t rows) {
  const int64_t row_bytes = encoder_->row_bytes(weight.size(1));
  about_tensor(tensor_->name, [&] {
    encoder_->encode(first, 0, view(weight.narrow(0, first, rows)), codes_.data() + first * row_bytes, row_bytes);
  });
}

void WeightTask::note_errors(const at::Tensor& before, const at::Tensor& after, double outputs,
                             const HessianFactor& factor) {
  outputs = std::max(outputs, 1e-300);  // of a weight of zeros
  report_.nearest_error = before.sum().item<double>() / outputs;
  report_.error = after.sum().item<double>() / outputs;
  report_.dampening_frac = factor.dampening_frac;
  report_.dead_columns = std::ssize(factor.dead);
  if (report_.dead_columns > 0)
    report_.warnings.push_back(fmt::format(
        "{} of its inputs are always 0 on the calibration text; their weights are 0 now", report_.dead_columns));
}

at::Tensor WeightTask::read(const TensorPlan& tensor, const WeightLayout& layout, const PreparedTensors::Bytes& bytes) {
  return about_tensor(tensor.name, [&] {
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

}  // namespace spinor::calibration
