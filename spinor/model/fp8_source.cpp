#include "spinor/model/fp8_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

#include "spinor/base/error.h"

namespace spinor {
namespace {

constexpr std::string_view kWeight = ".weight";

std::vector<std::string> scale_names(const std::string& weight) {
  std::vector<std::string> names = {weight + "_scale_inv", weight + "_scale"};
  if (!weight.ends_with(kWeight)) return names;
  const std::string module = weight.substr(0, weight.size() - kWeight.size());
  names.push_back(module + ".qscale_weight");
  names.push_back(module + ".scale");
  return names;
}

const CheckpointTensor& scale_of(const SourceReading& r, const std::string& weight) {
  const std::vector<std::string> names = scale_names(weight);
  for (const std::string& name : names)
    if (const CheckpointTensor* scale = r.find(name)) return *scale;
  throw Error(weight, fmt::format("is quantized, but has no scale: there is none of {}", fmt::join(names, ", ")),
              r.stored.hint_for_missing(names.front(), "download or convert it again"));
}

// Of the scales of blocks; (0, 0): config.json says that there are no blocks.
std::pair<int64_t, int64_t> block_size(const SourceReading& r) {
  const auto found = r.quantization.find("weight_block_size");
  if (found == r.quantization.end()) return {128, 128};
  if (found->is_null()) return {0, 0};
  const auto is_size = [](const Json& size) { return size.is_number_integer() && size > 0; };
  if (!found->is_array() || found->size() != 2 || !is_size(found->at(0)) || !is_size(found->at(1)))
    throw Error(r.subject, fmt::format("weight_block_size is {}, not two sizes", found->dump()));
  return {found->at(0).get<int64_t>(), found->at(1).get<int64_t>()};
}

QuantizationArgs args_of(const SourceReading& r, const TensorInfo& weight, const TensorInfo& scale) {
  using enum QuantizationStrategy;
  QuantizationArgs args{.num_bits = 8, .type = QuantizationType::floating};
  const int64_t count = scale.elements();
  const bool by_row = count == weight.rows() && scale.shape.front() == count;
  args.strategy = count == 1 ? tensor : by_row ? channel : block;
  if (args.strategy != block) return args;
  args.block_structure = block_size(r);
  if (args.block_structure->first > 0) return args;
  throw Error(scale.name,
              fmt::format("is ({}), but weight_block_size in {} is null: one scale, or one a row, was expected",
                          fmt::join(scale.shape, ", "), r.subject));
}

WeightLayout layout_of(const SourceReading& r, const TensorInfo& weight, const TensorInfo& scale) {
  const bool power = scale.dtype == DType::F8_E8M0;
  WeightLayout layout{args_of(r, weight, scale), power ? "fp8-e8m0" : "fp8", weight.rows(), weight.cols(), scale.dtype};
  if (power) layout.dtype = dense_dtype(r.stored);
  if (power || (info(scale.dtype).editable && scale.dtype != DType::F64)) return layout;
  throw Error(scale.name, fmt::format("is {}, not a type that scales of FP8 weights have", info(scale.dtype).name),
              "F32, F16, BF16 and F8_E8M0 are");
}

}  // namespace

void read_fp8(SourceReading& r) {
  for (const CheckpointTensor& tensor : r.stored.tensors()) {
    const std::string& name = tensor.info.name;
    if (tensor.info.dtype != DType::F8_E4M3) {
      if (!r.find(name + "_scale_inv")) continue;
      throw Error(name, fmt::format("is {}, not F8_E4M3, though it has a scale", info(tensor.info.dtype).name),
                  "convert it again");
    }
    const TensorInfo& scale = scale_of(r, name).info;
    r.add(name, tensor.info.shape, dense_dtype(r.stored), layout_of(r, tensor.info, scale), {name, scale.name});
  }
}

}  // namespace spinor
