#include "spinor/model/source_reading.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/model/encoded_weight.h"

namespace spinor {
namespace {

// (out, 1), (out), or (1) and () are the same scales.
std::vector<int64_t> without_last_ones(std::vector<int64_t> shape) {
  while (!shape.empty() && shape.back() == 1) shape.pop_back();
  return shape;
}

const CheckpointTensor& checked_part(const Checkpoint& stored, const std::string& name, const StoredTensor& expected) {
  const CheckpointTensor* tensor = stored.find(name);
  if (!tensor)
    throw Error(name, "is missing, though its weight is quantized",
                stored.hint_for_missing(name, "download or convert it again"));
  const TensorInfo& found = tensor->info;
  const bool shape = without_last_ones(found.shape) == without_last_ones(expected.shape);
  if (shape && info(found.dtype).bits == info(expected.dtype).bits) return *tensor;
  throw Error(name, fmt::format("is ({}) {}, not ({}) {} as its scheme says", fmt::join(found.shape, ", "),
                                info(found.dtype).name, fmt::join(expected.shape, ", "), info(expected.dtype).name));
}

}  // namespace

void SourceReading::add(const std::string& name, std::vector<int64_t> shape, DType dtype, WeightLayout layout,
                        const std::vector<std::string>& names, int64_t transposed) {
  EncodedWeight encoded;
  encoded.layout = std::move(layout);
  encoded.transposed = transposed;
  std::vector<StoredTensor> expected = parts_of(name, encoded.layout);
  for (size_t i = 0; i < names.size(); ++i) {
    if (transposed > 0) {  // the files have the matrices in a dimension of their own
      expected[i].shape.front() /= transposed;
      expected[i].shape.insert(expected[i].shape.begin(), transposed);
    }
    encoded.parts.push_back(checked_part(stored, names[i], expected[i]));
    consumed.insert(names[i]);
  }
  CheckpointTensor weight{.info = {.name = name, .dtype = dtype, .shape = std::move(shape)},
                          .file = encoded.parts.front().file};
  weight.info.begin = encoded.parts.front().info.begin;
  weight.info.end = weight.info.begin + checked_bytes(dtype, weight.info.shape, name);
  weight.form = std::make_shared<const EncodedWeight>(std::move(encoded));
  weights.push_back(std::move(weight));
}

std::vector<StoredTensor> parts_of(const std::string& name, const WeightLayout& layout) {
  try {
    std::vector<StoredTensor> parts = stored_tensors(layout);
    std::erase_if(parts, [](const StoredTensor& part) { return part.suffix == "weight_shape"; });
    return parts;
  } catch (const Error& error) {
    throw Error(name, error.problem(), error.hint());
  }
}

DType dense_dtype(const Checkpoint& checkpoint) {
  const Json& config = checkpoint.config();
  for (const Json* where : {&config, config.contains("text_config") ? &config["text_config"] : &config})
    for (const char* key : {"dtype", "torch_dtype"}) {
      if (!where->is_object() || !where->contains(key) || !(*where)[key].is_string()) continue;
      const DTypeInfo* dtype = find_dtype((*where)[key].get_ref<const std::string&>());
      if (dtype && dtype->editable) return dtype->dtype;
    }
  return DType::BF16;
}

}  // namespace spinor
