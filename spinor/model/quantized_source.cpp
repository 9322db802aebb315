#include "spinor/model/quantized_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/model/fp8_source.h"
#include "spinor/model/loaded_names.h"
#include "spinor/model/module_name.h"
#include "spinor/model/quantization_targets.h"
#include "spinor/model/source_reading.h"
#include "spinor/model/transform_location.h"

namespace spinor {
namespace {

// Besides a weight's own: how activations, keys and values are quantized when the model runs.
constexpr auto kActivationSuffixes = std::to_array<std::string_view>(
    {".input_scale", ".input_zero_point", ".input_global_scale", ".output_scale", ".output_zero_point", ".k_scale",
     ".v_scale", ".q_scale", ".k_zero_point", ".v_zero_point", ".q_zero_point",
     // as FP8 models have them: Mistral, AutoFP8, FBGEMM
     "activation_scale", ".qscale_act", ".kv_scale", ".input_scale_ub"});

int64_t integer_at(const std::vector<std::byte>& bytes, size_t index, size_t size) {
  if ((index + 1) * size > bytes.size()) return 0;
  int64_t value = 0;  // little-endian, as the machine
  std::memcpy(&value, bytes.data() + index * size, size);
  return value;
}

std::vector<int64_t> packed_shape(const SourceReading& r, const std::string& module, const QuantizationArgs& args) {
  const CheckpointTensor& packed = r.stored.at(module + ".weight_packed");
  const int64_t words = packed.info.cols(), rows = packed.info.rows();
  if (packed.info.dtype == DType::U8) return {rows, words * 2};  // two of four bits in a byte
  const CheckpointTensor* shape = r.find(module + ".weight_shape");
  if (!shape) return {rows, words * 32 / args.num_bits};
  const std::vector<std::byte> bytes = r.stored.read(*shape);
  const auto size = static_cast<size_t>(info(shape->info.dtype).bits / 8);
  return {integer_at(bytes, 0, size), integer_at(bytes, 1, size)};
}

// The row says which modules are embeddings; where there is none, names do, as everywhere. (The modules themselves are
// not known before their tensors are.)
bool is_embedding(const std::string& module, const Architecture* row) {
  if (!row) return names_embedding(module);
  const auto is_it = [&](const std::string& root) {
    const auto named = [&](const EmbeddingRow& embedding) { return module == root + embedding.name; };
    return std::ranges::any_of(row->embeddings, named);
  };
  return std::ranges::any_of(row->roots, is_it) ||
         std::ranges::any_of(row->towers, [&](const Architecture& tower) { return is_embedding(module, &tower); });
}

// Which scheme a module has, by what can be known of it.
struct Schemes {
  QuantizationConfig config;
  const Architecture* row;
  std::optional<LoadedNames> names = {};

  const QuantizationScheme& of(const std::string& module, const std::string& subject) const {
    const Module named{.name = module,
                       .classes = {is_embedding(module, row) ? "Embedding" : "Linear", "Module"},
                       .loaded_name = names ? names->of(module) : ""};
    const auto* group = find_group(config, named);
    if (group && group->second.weights) return group->second;
    throw Error(module, fmt::format("is stored quantized, but no group of {} targets it", subject),
                "name it in the targets of its group, and not in ignore");
  }
};

void add_compressed(SourceReading& r, const Schemes& schemes, const std::string& module, bool packed) {
  const QuantizationScheme& scheme = schemes.of(module, r.subject);
  const QuantizationArgs& args = *scheme.weights;
  const std::string format = format_of(scheme, {module, r.subject});
  if (format == "dense") {  // quantized and dequantized: the scales have done their work
    for (const char* suffix : {".weight_scale", ".weight_zero_point"}) r.consumed.insert(module + suffix);
    return;
  }
  const std::string codes = packed ? ".weight_packed" : ".weight";
  std::vector<int64_t> shape = packed ? packed_shape(r, module, args) : r.stored.at(module + codes).info.shape;
  const CheckpointTensor* scale = r.find(module + ".weight_scale");
  const DType dense = dense_dtype(r.stored);
  const bool scale_is_number = scale && info(scale->info.dtype).editable;
  WeightLayout layout{args, format, shape.empty() ? 0 : shape.front(), shape.empty() ? 0 : shape.back(),
                      scale_is_number ? scale->info.dtype : dense};
  std::vector<std::string> names;
  for (const StoredTensor& stored : parts_of(module + ".weight", layout)) names.push_back(module + "." + stored.suffix);
  r.add(module + ".weight", std::move(shape), scale_is_number ? scale->info.dtype : dense, std::move(layout), names);
  r.consumed.insert(module + ".weight_shape");
}

constexpr const char* kQuantizeAgain = "quantize the model again, or dequantize it with the release that wrote it";

// In releases before they were removed these orders stored which group each column is of.
void check_orders(const SourceReading& r) {
  const Json none = Json::object();
  const Json& groups = r.quantization.value("config_groups", none);
  for (const auto& [name, group] : groups.items()) {
    if (!group.is_object() || !group.contains("weights") || !group["weights"].is_object()) continue;
    const Json order = lower_case(group["weights"].value("actorder", Json()));
    if (order != true && order != "group" && order != "dynamic") continue;
    throw Error(r.subject,
                fmt::format("{} has weights in the activation order {}, which spinor cannot read", name, order.dump()),
                kQuantizeAgain);
  }
}

void read_compressed_tensors(SourceReading& r, const Architecture* row) {
  check_orders(r);
  Schemes schemes{quantization_config_from_json(r.quantization, r.subject), row};
  if (row) schemes.names.emplace(*row, r.stored);
  for (const CheckpointTensor& tensor : r.stored.tensors()) {
    const std::string& name = tensor.info.name;
    if (name.ends_with(".weight_g_idx"))
      throw Error(name, "is an activation order that older releases of llm-compressor stored, which spinor cannot read",
                  kQuantizeAgain);
    const bool packed = name.ends_with(".weight_packed");
    if (!packed && !name.ends_with(".weight")) continue;
    const std::string module = name.substr(0, name.rfind('.'));
    if (packed || r.find(module + ".weight_scale")) add_compressed(r, schemes, module, packed);
  }
}

// Stacks of experts as gpt-oss is published: of W (experts, in, out), the codes of every out along in.
void read_mxfp4(SourceReading& r) {
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
    r.add(name, {experts, in, out}, dense_dtype(r.stored), layout, {tensor.info.name, name + "_scales"}, experts);
  }
}

struct Method {
  std::string_view name;
  void (*read)(SourceReading&, const Architecture*);
};
constexpr Method kMethods[] = {{"compressed-tensors", read_compressed_tensors},
                               {"fp8", [](SourceReading& r, const Architecture*) { read_fp8(r); }},
                               {"fbgemm_fp8", [](SourceReading& r, const Architecture*) { read_fp8(r); }},
                               {"mxfp4", [](SourceReading& r, const Architecture*) { read_mxfp4(r); }}};

// <module>.<group>_<location>.weight or .perm. The location must be one: with a group v, v_proj is not such a name.
bool is_transform(const std::string& name, const Json& transform_config) {
  if (!transform_config.is_object() || !transform_config.contains("config_groups")) return false;
  const size_t last = name.rfind('.'), before = name.rfind('.', last - 1);
  if (last == std::string::npos || before == std::string::npos) return false;
  const std::string_view what = std::string_view(name).substr(before + 1, last - before - 1);
  return std::ranges::any_of(transform_config["config_groups"].items(), [&](const auto& group) {
    const size_t length = group.key().size();
    return what.starts_with(group.key() + "_") &&
           std::ranges::any_of(enum_names(TransformLocation()),
                               [&](const auto& row) { return row.name == what.substr(length + 1); });
  });
}

constexpr auto kQuantizationKeys = std::to_array<const char*>({"quantization_config", "compression_config"});

// Checkpoints of vision-language models may have it in the part of config.json that is the language model's.
const Json* find_quantization(const Json& config) {
  for (const char* key : kQuantizationKeys)
    if (const auto found = config.find(key); found != config.end() && found->is_object() && !found->empty())
      return &*found;
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object() ? find_quantization(*text) : nullptr;
}

Json without_quantization(Json config) {
  for (const char* key : kQuantizationKeys) {
    config.erase(key);
    if (const auto text = config.find("text_config"); text != config.end() && text->is_object()) text->erase(key);
  }
  return config;
}

}  // namespace

std::optional<QuantizedSource> read_quantized(const Checkpoint& checkpoint, const Architecture* row) {
  const Json* quantization = find_quantization(checkpoint.config());
  if (!quantization) return std::nullopt;
  const std::string subject = (checkpoint.directory() / "config.json").string();
  const std::string name = quantization->value("quant_method", "compressed-tensors");
  const auto* method = std::ranges::find(kMethods, name, &Method::name);
  if (method == std::end(kMethods))
    throw Error(subject, fmt::format("the weights are quantized with {}, which spinor cannot read", name),
                "start from the model as it was before, or dequantize it with the tool that made it");
  SourceReading r{checkpoint, *quantization, subject};
  method->read(r, row);
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
  source.checkpoint = checkpoint.with(without_quantization(checkpoint.config()), std::move(r.weights));
  return source;
}

}  // namespace spinor
