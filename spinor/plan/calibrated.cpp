#include "spinor/plan/calibrated.h"

namespace spinor {

std::vector<TensorInfo> calibrated_tensors(const CalibratedActivation& activation, const Model& model,
                                           DType model_dtype) {
  const std::string name = activation.module + "." + activation.place;
  const QuantizationArgs& args = activation.args;
  if (args.strategy == QuantizationStrategy::tensor_group)
    return {{.name = name + "_global_scale", .dtype = DType::F32, .shape = {1}}};
  std::vector<int64_t> shape = {1};
  if (args.strategy == QuantizationStrategy::attn_head) shape = {model.num_key_value_heads(), 1, 1};
  std::vector<TensorInfo> tensors = {{.name = name + "_scale", .dtype = model_dtype, .shape = shape}};
  if (!args.symmetric) tensors.push_back({.name = name + "_zero_point", .dtype = DType::I8, .shape = shape});
  return tensors;
}

}  // namespace spinor
