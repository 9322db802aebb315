#include "spinor/model/quantized_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/model/encoded_weight.h"
#include "spinor/model/quantization_targets.h"

namespace spinor {
namespace {

// Besides a weight's own: how activations, keys and values are quantized when the model runs.
constexpr auto kActivationSuffixes = std::to_array<std::string_view>(
    {".input_scale", ".input_zero_point", ".input_global_scale", ".output_scale", ".output_zero_point", ".k_scale",
     ".v_scale", ".q_scale", ".k_zero_point", ".v_zero_point", ".q_zero_point"});

constexpr auto kLocations =
    std::to_array<std::string_view>({"input", "weight_input", "weight_output", "output", "k_cache", "q_attn"});

// The tensors of a weight but weight_shape, which says no more than the layout and may be left out. Errors about
// `name`.
std::vector<StoredTensor> parts_of(const std::string& name, const WeightLayout& layout) {
  try {
    std::vector<StoredTensor> parts = stored_tensors(layout);
    std::erase_if(parts, [](const StoredTensor& part) { return part.suffix == "weight_shape"; });
    return parts;
  } catch (const Error& error) {
    throw Error(name, error.problem(), error.hint());
  }
}

// A checkpoint while it is read.
struct Reading {
  const Checkpoint& stored;
  const Json& quantization;  // config.json's quantization_config
  std::string subject;       // path of config.json
  std::vector<CheckpointTensor> weights = {};
  std::set<std::string> consumed = {};

  const CheckpointTensor* find(const std::string& name) const { return stored.find(name); }

  // The tensor of a weight, which must be what the layout says.
  const CheckpointTensor& part(const std::string& name, const StoredTensor& expected) const {
    const CheckpointTensor* tensor = find(name);
    if (!tensor) throw Error(name, "is missing, though its weight is quantized", "download or convert it again");
    const TensorInfo& found = tensor->info;
    const bool shape = found.shape == expected.shape || (expected.shape.size() == 1 && found.elements() == 1);
    if (shape && info(found.dtype).bits == info(expected.dtype).bits) return *tensor;
    throw Error(name, fmt::format("is ({}) {}, not ({}) {} as its scheme says", fmt::join(found.shape, ", "),
                                  info(found.dtype).name, fmt::join(expected.shape, ", "), info(expected.dtype).name));
  }

  // `name` stands for the parts of `layout`; `names` are theirs, in order. See EncodedWeight for `transposed`.
  void add(const std::string& name, std::vector<int64_t> shape, DType dtype, WeightLayout layout,
           const std::vector<std::string>& names, int64_t transposed = 0) {
    EncodedWeight encoded{std::move(layout), {}, transposed};
    std::vector<StoredTensor> expected = parts_of(name, encoded.layout);
    for (size_t i = 0; i < names.size(); ++i) {
      if (transposed > 0) {  // the files have the matrices in a dimension of their own
        expected[i].shape.front() /= transposed;
        expected[i].shape.insert(expected[i].shape.begin(), transposed);
      }
      encoded.parts.push_back(part(names[i], expected[i]));
      consumed.insert(names[i]);
    }
    CheckpointTensor weight{.info = {.name = name, .dtype = dtype, .shape = std::move(shape)},
                            .file = encoded.parts.front().file};
    weight.info.begin = encoded.parts.front().info.begin;
    weight.info.end = weight.info.begin + checked_bytes(dtype, weight.info.shape, name);
    weight.encoded = std::make_shared<const EncodedWeight>(std::move(encoded));
    weights.push_back(std::move(weight));
  }
};

// The dtype of the model's other weights, which dequantized ones get too.
DType dense_dtype(const Reading& r) {
  const Json& config = r.stored.config();
  for (const Json* where : {&config, config.contains("text_config") ? &config["text_config"] : &config})
    for (const char* key : {"dtype", "torch_dtype"}) {
      if (!where->is_object() || !where->contains(key) || !(*where)[key].is_string()) continue;
      const DTypeInfo* dtype = find_dtype((*where)[key].get_ref<const std::string&>());
      if (dtype && dtype->editable) return dtype->dtype;
    }
  return DType::BF16;
}

int64_t integer_at(const std::vector<std::byte>& bytes, size_t index, size_t size) {
  if ((index + 1) * size > bytes.size()) return 0;
  int64_t value = 0;  // little-endian, as the machine
  std::memcpy(&value, bytes.data() + index * size, size);
  return value;
}

std::vector<int64_t> packed_shape(const Reading& r, const std::string& module, const QuantizationArgs& args) {
  const CheckpointTensor& packed = r.stored.at(module + ".weight_packed");
  const int64_t words = packed.info.cols(), rows = packed.info.rows();
  if (packed.info.dtype == DType::U8) return {rows, words * 2};  // two of four bits in a byte
  const CheckpointTensor* shape = r.find(module + ".weight_shape");
  if (!shape) return {rows, words * 32 / args.num_bits};
  const std::vector<std::byte> bytes = r.stored.read(*shape);
  const auto size = static_cast<size_t>(info(shape->info.dtype).bits / 8);
  return {integer_at(bytes, 0, size), integer_at(bytes, 1, size)};
}

// By name alone: the modules are not known before their tensors are.
const QuantizationScheme& scheme_of(const QuantizationConfig& config, const std::string& module, const Reading& r) {
  const bool embedding = module.find("embed") != std::string::npos;
  const Module named{.name = module, .classes = {embedding ? "Embedding" : "Linear", "Module"}};
  const auto* group = find_group(config, named);
  if (!group && config.config_groups.size() == 1) group = &config.config_groups.front();  // a class of its own
  if (!group || !group->second.weights)
    throw Error(module, "is stored quantized, but no group of " + r.subject + " targets it");
  return group->second;
}

void add_compressed(Reading& r, const QuantizationConfig& config, const std::string& module, bool packed) {
  const QuantizationScheme& scheme = scheme_of(config, module, r);
  const QuantizationArgs& args = *scheme.weights;
  const std::string format = format_of(scheme, {module, r.subject});
  if (format == "dense") {  // quantized and dequantized: the scales have done their work
    for (const char* suffix : {".weight_scale", ".weight_zero_point"}) r.consumed.insert(module + suffix);
    return;
  }
  const std::string codes = packed ? ".weight_packed" : ".weight";
  std::vector<int64_t> shape = packed ? packed_shape(r, module, args) : r.stored.at(module + codes).info.shape;
  const CheckpointTensor* scale = r.find(module + ".weight_scale");
  const DType dense = dense_dtype(r);
  const bool scale_is_number = scale && info(scale->info.dtype).editable;
  WeightLayout layout{args, format, shape.empty() ? 0 : shape.front(), shape.empty() ? 0 : shape.back(),
                      scale_is_number ? scale->info.dtype : dense};
  std::vector<std::string> names;
  for (const StoredTensor& stored : parts_of(module + ".weight", layout)) names.push_back(module + "." + stored.suffix);
  r.add(module + ".weight", std::move(shape), scale_is_number ? scale->info.dtype : dense, std::move(layout), names);
  r.consumed.insert(module + ".weight_shape");
}

void read_compressed_tensors(Reading& r) {
  const QuantizationConfig config = quantization_config_from_json(r.quantization, r.subject);
  for (const CheckpointTensor& tensor : r.stored.tensors()) {
    const std::string& name = tensor.info.name;
    if (name.ends_with(".weight_g_idx"))
      throw Error(name, "is an activation order that older releases of llm-compressor stored, which spinor cannot read",
                  "quantize the model again, or dequantize it with the release that wrote it");
    const bool packed = name.ends_with(".weight_packed");
    if (!packed && !name.ends_with(".weight")) continue;
    const std::string module = name.substr(0, name.rfind('.'));
    if (packed || r.find(module + ".weight_scale")) add_compressed(r, config, module, packed);
  }
}

void read_fp8(Reading& r) {
  QuantizationArgs args{.num_bits = 8, .type = QuantizationType::floating};
  args.strategy = QuantizationStrategy::block;
  args.block_structure = {128, 128};
  if (const auto size = r.quantization.find("weight_block_size"); size != r.quantization.end() && size->is_array())
    args.block_structure = {size->at(0).get<int64_t>(), size->at(1).get<int64_t>()};
  for (const CheckpointTensor& tensor : r.stored.tensors()) {
    const std::string& name = tensor.info.name;
    if (!r.find(name + "_scale_inv")) continue;
    const WeightLayout layout{args, "fp8-block", tensor.info.rows(), tensor.info.cols(), DType::F32};
    r.add(name, tensor.info.shape, dense_dtype(r), layout, {name, name + "_scale_inv"});
  }
}

// Stacks of experts as gpt-oss is published: of W (experts, in, out), the codes of every out along in.
void read_mxfp4(Reading& r) {
  QuantizationArgs args{.num_bits = 4, .type = QuantizationType::floating, .group_size = 32};
  args.strategy = QuantizationStrategy::group;
  for (const CheckpointTensor& tensor : r.stored.tensors()) {
    const size_t end = tensor.info.name.rfind('_');
    const std::string name = tensor.info.name.substr(0, end), suffix = tensor.info.name.substr(name.size());
    if (suffix == "_scales" && !r.find(name + "_blocks"))
      throw Error(name + "_blocks", "is missing, though its scales are there", "download or convert it again");
    if (suffix != "_blocks") continue;
    const std::vector<int64_t>& shape = tensor.info.shape;
    if (shape.size() != 4)
      throw Error(tensor.info.name,
                  fmt::format("is ({}), not (experts, out, in / 32, 16) as mxfp4 has it", fmt::join(shape, ", ")));
    const int64_t experts = shape[0], out = shape[1], in = shape[2] * 32;
    const WeightLayout layout{args, "gpt-oss-mxfp4", experts * out, in, DType::BF16};
    r.add(name, {experts, in, out}, dense_dtype(r), layout, {tensor.info.name, name + "_scales"}, experts);
  }
}

struct Method {
  std::string_view name;
  void (*read)(Reading&);
};
constexpr Method kMethods[] = {
    {"compressed-tensors", read_compressed_tensors}, {"fp8", read_fp8}, {"mxfp4", read_mxfp4}};

// <module>.<group>_<location>.weight or .perm. The location must be one: with a group v, v_proj is not such a name.
bool is_transform(const std::string& name, const Json& transform_config) {
  if (!transform_config.is_object() || !transform_config.contains("config_groups")) return false;
  const size_t last = name.rfind('.'), before = name.rfind('.', last - 1);
  if (last == std::string::npos || before == std::string::npos) return false;
  const std::string_view what = std::string_view(name).substr(before + 1, last - before - 1);
  return std::ranges::any_of(transform_config["config_groups"].items(), [&](const auto& group) {
    const size_t length = group.key().size();
    return what.starts_with(group.key() + "_") &&
           std::ranges::find(kLocations, what.substr(length + 1)) != kLocations.end();
  });
}

const Json* find_quantization(const Json& config) {
  for (const char* key : {"quantization_config", "compression_config"})
    if (const auto found = config.find(key); found != config.end() && found->is_object() && !found->empty())
      return &*found;
  return nullptr;
}

}  // namespace

std::optional<QuantizedSource> read_quantized(const Checkpoint& checkpoint) {
  const Json* quantization = find_quantization(checkpoint.config());
  if (!quantization) return std::nullopt;
  const std::string subject = (checkpoint.directory() / "config.json").string();
  const std::string name = quantization->value("quant_method", "compressed-tensors");
  const auto* method = std::ranges::find(kMethods, name, &Method::name);
  if (method == std::end(kMethods))
    throw Error(subject, fmt::format("the weights are quantized with {}, which spinor cannot read", name),
                "start from the model as it was before, or dequantize it with the tool that made it");
  Reading r{checkpoint, *quantization, subject};
  method->read(r);
  const Json transforms = quantization->value("transform_config", Json());
  QuantizedSource source{.checkpoint = checkpoint,
                         .method = name,
                         .quantization = *quantization,
                         .transform_config = transforms,
                         .stored = checkpoint};
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    const std::string& stored = tensor.info.name;
    if (r.consumed.contains(stored) || is_transform(stored, transforms)) continue;
    if (std::ranges::any_of(kActivationSuffixes, [&](std::string_view suffix) { return stored.ends_with(suffix); }))
      source.dropped.push_back(stored);
    else
      r.weights.push_back(tensor);
  }
  Json config = checkpoint.config();
  config.erase("quantization_config");
  config.erase("compression_config");
  source.checkpoint = checkpoint.with(std::move(config), std::move(r.weights));
  return source;
}

}  // namespace spinor
