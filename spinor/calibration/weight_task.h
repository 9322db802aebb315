// One weight that is quantized with data: its encoder, its codes, and how much its layer's output changes.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "spinor/calibration/hessian.h"
#include "spinor/calibration/report.h"
#include "spinor/plan/prepared.h"
#include "spinor/quant/encoder.h"

namespace spinor::calibration {

class WeightTask {
 public:
  // dtype: what its numbers would be stored in, and its scales are.
  WeightTask(const TensorPlan& tensor, const WeightQuantization& quantization, DType dtype);

  const TensorPlan& tensor() const { return *tensor_; }
  const WeightQuantization& quantization() const { return *quantization_; }
  WeightEncoder& encoder() { return *encoder_; }
  const WeightLayout& layout() const { return encoder_->layout(); }
  int64_t inputs() const { return report_.inputs; }

  // Whether codes are found so that they make up for each other, and the layer is run on with them, as llm-compressor
  // has it; or data is for scales alone.
  bool by_gptq() const { return quantization_->gptq.has_value(); }

  // Its scales, from the weight (out, in) as it is. Null: no token reached it. Error for values that are not finite,
  // and for a strict observer without data.
  void observe(const at::Tensor& weight, const Hessian* hessian, int threads);
  // Its codes. Each row has GPTQ's, or the nearest ones if those change its outputs less. Without a factor all have the
  // nearest.
  void quantize(const at::Tensor& weight, const HessianFactor* factor, int threads);
  // What codes that were written stand for.
  static at::Tensor read(const TensorPlan& tensor, const WeightLayout& layout, const PreparedTensors::Bytes& bytes);

  PreparedTensors::Bytes bytes() const;
  const ModuleReport& report() const { return report_; }

 private:
  void weigh_columns(const Hessian* hessian);
  void warn_about_tokens();
  void find_codes(const at::Tensor& weight, const HessianFactor& factor, int threads);
  void encode_rows(const at::Tensor& weight, int64_t first, int64_t rows);  // by their nearest codes
  void note_errors(const at::Tensor& before, const at::Tensor& after, double outputs, const HessianFactor& factor);

  const TensorPlan* tensor_;
  const WeightQuantization* quantization_;
  std::unique_ptr<WeightEncoder> encoder_;
  std::vector<std::byte> codes_;
  ModuleReport report_;
};

}  // namespace spinor::calibration
