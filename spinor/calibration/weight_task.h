// One weight that is quantized with data: its encoder, its codes, and how much its layer's output changes.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "spinor/calibration/hessian.h"
#include "spinor/calibration/report.h"
#include "spinor/plan/prepared.h"
#include "spinor/quant/codec.h"

namespace spinor {

class WeightTask {
 public:
  // dtype: what its numbers would be stored in, and its scales are.
  WeightTask(const TensorPlan& tensor, const WeightQuantization& quantization, DType dtype);

  const TensorPlan& tensor() const { return *tensor_; }
  const WeightQuantization& quantization() const { return *quantization_; }
  WeightEncoder& encoder() { return *encoder_; }

  // Its scales, from the weight (out, in) as it is. Error for values that are not finite.
  void observe(const at::Tensor& weight, int threads);
  // Codes and what they stand for, which takes the place of the weight's values. Each row has GPTQ's codes, or the
  // nearest ones if those change its outputs less. Without a factor all have the nearest.
  void quantize(at::Tensor& weight, const Hessian& hessian, const HessianFactor* factor, int threads);
  // The same from what an earlier run has written.
  static at::Tensor read(const TensorPlan& tensor, const WeightLayout& layout, const PreparedTensors::Bytes& bytes);

  PreparedTensors::Bytes bytes() const;
  const ModuleReport& report() const { return report_; }

 private:
  const TensorPlan* tensor_;
  const WeightQuantization* quantization_;
  std::unique_ptr<WeightEncoder> encoder_;
  std::vector<std::byte> codes_;
  ModuleReport report_;
};

}  // namespace spinor
