#include "spinor/plan/outputs.h"

#include <utility>
#include <variant>

#include "spinor/model/module_name.h"

namespace spinor {

bool is_copied(const CheckpointTensor& source) {
  return !source.form && !info(source.info.dtype).editable;
}

DType output_dtype(const TensorPlan& tensor, std::optional<DType> asked) {
  const DType source = tensor.source->info.dtype;
  return asked && info(source).editable ? *asked : source;
}

WeightLayout quantized_layout(const TensorPlan& tensor, const WeightQuantization& quantization, DType output) {
  const TensorInfo& info = tensor.source->info;
  if (tensor.shape.transposed || tensor.shape.count > 1)
    throw Error(tensor.name,
                tensor.shape.transposed ? "is stored transposed, and no format has quantized weights so"
                                        : "is a stack of weights, and no format has quantized ones so",
                leave_out_hint(parent_of(tensor.name)));
  const DType scale = quantization.scale_dtype.value_or(output);
  if (scale == DType::F64)
    throw Error(tensor.name, "would have scales of float64, and no format has those",
                "save it in another type: --dtype bfloat16");
  return {quantization.args, quantization.format, info.rows(), info.cols(), scale};
}

std::vector<TensorInfo> output_tensors(const TensorPlan& tensor, DType output) {
  TensorInfo info = tensor.source->info;
  info.name = tensor.name;
  if (is_copied(*tensor.source)) return {info};
  info.dtype = output;
  if (tensor.edits.empty() || !std::holds_alternative<Quantize>(tensor.edits.back())) return {info};
  const auto& quantization = std::get<Quantize>(tensor.edits.back()).quantization;
  const std::string module = tensor.name.substr(0, tensor.name.rfind('.') + 1);
  std::vector<TensorInfo> outputs;
  for (StoredTensor& stored :
       about_tensor(tensor.name, [&] { return stored_tensors(quantized_layout(tensor, quantization, output)); }))
    outputs.push_back({.name = module + stored.suffix, .dtype = stored.dtype, .shape = std::move(stored.shape)});
  return outputs;
}

WeightEncoder make_encoder(const TensorPlan& tensor, const WeightQuantization& quantization, DType output) {
  return about_tensor(tensor.name, [&] {
    return WeightEncoder(quantized_layout(tensor, quantization, output), quantization.observer,
                         quantization.arithmetic);
  });
}

}  // namespace spinor
