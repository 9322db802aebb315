#include "spinor/model/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/family/model_config.h"
#include "spinor/model/hub.h"
#include "spinor/model/linear_experts.h"
#include "spinor/model/loaded_names.h"
#include "spinor/model/modules.h"
#include "spinor/model/modules_by_name.h"
#include "spinor/model/mtp.h"
#include "spinor/model/quantized_source.h"
#include "spinor/model/stream.h"
#include "spinor/model/told_lists.h"
#include "spinor/model/untouched.h"

namespace spinor {

struct ModelData {
  Checkpoint checkpoint;
  std::string subject;  // the path of config.json
  std::string name = {};
  std::optional<QuantizedSource> quantized = {};
  const Architecture* architecture = nullptr;
  ModelConfig config = {};
  std::vector<Module> modules = {};
  std::map<std::string, const Module*, std::less<>> by_name = {}, by_tensor = {};
  const Module *embedding = nullptr, *head = nullptr;
  std::optional<ModuleNames> names = {};  // of a known architecture
  Stream stream = {};
  std::vector<ModelConfig> tower_configs = {};
  std::vector<Stream> tower_streams = {};
  std::list<CheckpointTensor> filters = {};  // those of the checkpoint as matrices (out, in)
  std::vector<ValueOutput> value_outputs = {};
  std::vector<const CheckpointTensor*> mtp = {};
  std::vector<MtpHead> mtp_heads = {};
};

namespace {

const Architecture* choose_architecture(const std::string& name, const std::string& subject, ModelOptions options) {
  if (const Architecture* row = find_architecture(name)) return row;
  if (const RefusedArchitecture* row = find_refused_architecture(name); row && !options.accept_refused)
    throw UnsupportedArchitecture(name, "is not supported: " + row->reason, row->instead);
  if (options.accept_unknown) return nullptr;
  const char* const other = "`spinor inspect` drafts a row for it (docs/adding_an_architecture.md)";
  if (name.empty())
    throw UnsupportedArchitecture(subject, "has no architectures", "name the class that transformers has for it");
  throw UnsupportedArchitecture(name, "is not an architecture spinor knows",
                                std::string(other) + "; or give mappings and norm_mappings in a recipe");
}

bool same_bytes(const Checkpoint& checkpoint, const CheckpointTensor& a, const CheckpointTensor& b) {
  if (a.form || b.form || a.info.dtype != b.info.dtype || a.info.shape != b.info.shape) return false;
  constexpr int64_t kChunk = 1 << 20;
  std::vector<std::byte> x(kChunk), y(kChunk);
  for (int64_t offset = 0; offset < a.info.bytes(); offset += kChunk) {
    const auto n = static_cast<size_t>(std::min(kChunk, a.info.bytes() - offset));
    checkpoint.read(a, offset, std::span(x).first(n));
    checkpoint.read(b, offset, std::span(y).first(n));
    if (!std::equal(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n), y.begin())) return false;
  }
  return true;
}

// transformers ties the two only if they are equal; what an unequal pair means depends on who loads it.
void check_tied(const ModelData& data) {
  if (data.head->weight == data.embedding->weight) return;
  if (same_bytes(data.checkpoint, *data.head->weight, *data.embedding->weight)) return;
  throw Error(data.head->weight->info.name,
              "differs from " + data.embedding->weight->info.name + " although tie_word_embeddings is true",
              "set it to false in config.json if the head is one of its own, or remove the tensor");
}

// The head of an unknown architecture that is tied: lm_head, as in nearly all of transformers.
void add_tied_head(ModelData& data) {
  const Module* embedding = find_token_embedding(data.modules);
  if (!embedding)
    throw Error(data.subject,
                "tie_word_embeddings is true, but no single tensor of the checkpoint is named as the embedding",
                "untie the model first");
  const auto head =
      std::find_if(data.modules.begin(), data.modules.end(), [](const Module& m) { return m.name == "lm_head"; });
  const auto index = embedding - data.modules.data();
  const Module tied{.name = "lm_head",
                    .classes = {"Linear", "Module"},
                    .kind = ModuleKind::linear,
                    .weight = embedding->weight,
                    .shape = embedding->shape};
  if (head == data.modules.end())
    data.modules.push_back(tied);
  else if (!head->weight)
    *head = tied;
  data.embedding = &data.modules[static_cast<size_t>(index)];
}

void index_modules(ModelData& data) {
  for (const Module& module : data.modules) {
    data.by_name[module.name] = &module;
    if (module.weight && module.kind != ModuleKind::part) data.by_tensor[weight_name(module)] = &module;
    if (module.bias && module.kind != ModuleKind::part) data.by_tensor[module.bias->info.name] = &module;
  }
}

void find_ends(ModelData& data) {
  if (!data.architecture && !data.config.tie_word_embeddings) return;
  if (data.architecture)
    data.embedding = &*std::ranges::find(std::as_const(data.modules), Role::embedding, &Module::role);
  data.head = data.by_name.at(data.architecture ? head_of(*data.architecture, data.checkpoint) : "lm_head");
  if (data.config.tie_word_embeddings) check_tied(data);
}

std::string leftover_hint(std::string_view tensor, const ModelData& data) {
  if (tensor.find("lora_") != std::string_view::npos) return "merge the adapter into the model first";
  if (tensor.ends_with(".bias") &&
      data.by_tensor.contains(std::string(tensor.substr(0, tensor.size() - 5)) + ".weight"))
    return "config.json and " + data.name + " say that there is no such bias";
  return fmt::format(
      "{} has no such tensor (num_hidden_layers {}); rotating the others would change the model if it is used",
      data.name, *data.config.num_layers);
}

// mtp.layers.0.mlp.up_proj.weight, what the row calls so, or layers behind the last one, as many as config.json says.
bool is_mtp(std::string_view name, const ModelData& data) {
  if (name.starts_with("mtp.") || name.starts_with("model.mtp.")) return true;
  const auto& row = data.architecture->mtp;
  const std::string prefix = row ? row->layer.substr(0, row->layer.find("{L}")) : "";
  if (!prefix.empty() && name.starts_with(prefix) && is_so("(" + row->count + ") > 0", data.config, false)) return true;
  const auto key = data.config.keys.find("num_nextn_predict_layers");
  const int64_t count = key != data.config.keys.end() && key->is_number_integer() ? key->get<int64_t>() : 0;
  for (int64_t i = 0; i < count; ++i)
    if (name.starts_with(data.names->layer_prefix(*data.config.num_layers + i))) return true;
  return false;
}

// Its stream rotates with that of the model.
void add_mtp(ModelData& data) {
  data.mtp_heads = mtp_heads_of(*data.names, root_of(*data.architecture, data.checkpoint));
  Stream& stream = data.stream;
  for (const MtpHead& head : data.mtp_heads) {
    if (head.embedding) stream.writers.push_back(head.embedding);
    stream.writers.insert(stream.writers.end(), head.writers.begin(), head.writers.end());
    stream.norm_reads.insert(stream.norm_reads.end() - 1, head.norm_reads.begin(), head.norm_reads.end());
    data.value_outputs.insert(data.value_outputs.end(), head.value_outputs.begin(), head.value_outputs.end());
  }
  for (const Module& module : data.modules) {
    if (module.role != Role::mtp || module.kind == ModuleKind::part) continue;
    if (module.weight) data.mtp.push_back(module.weight);
    if (module.bias) data.mtp.push_back(module.bias);
  }
}

void check_no_leftover(ModelData& data) {
  for (const CheckpointTensor& tensor : data.checkpoint.tensors()) {
    const std::string& name = tensor.info.name;
    const auto ends = [&](const std::string& buffer) { return name.ends_with(buffer); };
    if (data.by_tensor.contains(name) || std::ranges::any_of(data.architecture->buffers, ends)) continue;
    if (!is_mtp(name, data)) throw Error(name, "is a tensor without a role", leftover_hint(name, data));
    data.mtp.push_back(&tensor);
  }
}

// Their modules follow those of the language model.
void add_towers(ModelData& data) {
  for (const Architecture& tower : data.architecture->towers) {
    data.tower_configs.push_back(
        read_tower_config(data.checkpoint.config(), tower, *data.config.hidden_size, data.subject));
    for (Module& module : modules_of(tower, data.tower_configs.back(), data.checkpoint))
      data.modules.push_back(std::move(module));
  }
  for (Module& module : data.modules) {
    if (module.kind != ModuleKind::linear || module.weight->info.shape.size() < 4) continue;
    CheckpointTensor& filter = data.filters.emplace_back(*module.weight);
    filter.info.row_dimensions = 1;
    module.weight = &filter;
  }
}

void find_tower_streams(ModelData& data) {
  for (size_t i = 0; i < data.tower_configs.size(); ++i) {
    const Architecture& tower = data.architecture->towers[i];
    const ModuleNames names(tower, data.tower_configs[i], data.checkpoint, data.by_name);
    if (Stream stream = stream_of(names); !stream.writers.empty()) data.tower_streams.push_back(std::move(stream));
    for (const Module* feed : feeds_of(names)) data.stream.writers.push_back(feed);
  }
}

int64_t require(const std::optional<int64_t>& size, const char* key, const ModelData& data) {
  if (size) return *size;
  throw Error(data.subject, fmt::format("has no {}", key));
}

}  // namespace

std::string_view name_of(Role role) {
  static constexpr std::array<std::string_view, 20> kNames = {
      "embedding",   "position",    "head",       "attn_q",    "attn_k", "attn_v",     "attn_qkv",
      "attn_o",      "attn_latent", "mlp_in",     "mlp_out",   "router", "projection", "stream_norm",
      "output_norm", "qk_norm",     "inner_norm", "parameter", "mtp",    "unknown"};
  return kNames[static_cast<size_t>(role)];
}

std::string weight_name(const Module& module) {
  const std::string& stored = module.weight->info.name;
  return module.kind == ModuleKind::part || stored.starts_with(module.name) ? stored : module.name + ".weight";
}

std::vector<const Module*> Stream::readers() const {
  std::vector<const Module*> all = raw_readers;
  for (const NormReads& reads : norm_reads) all.insert(all.end(), reads.linears.begin(), reads.linears.end());
  return all;
}

int64_t Stream::size() const {
  const Module& first = *writers.front();
  return first.kind == ModuleKind::embedding ? first.shape.in : first.shape.out;
}

Model::Model(std::shared_ptr<const ModelData> data) : data_(std::move(data)) {}

Model Model::open(std::string_view model) {
  return describe(Checkpoint::open(resolve_model(model)), {.accept_unknown = true});
}

Model Model::describe(const Checkpoint& stored, ModelOptions options) {
  const std::string subject = (stored.directory() / "config.json").string();
  const std::string name = read_architecture_name(stored.config(), subject);
  const Architecture* row = choose_architecture(name, subject, options);
  std::optional<QuantizedSource> quantized = read_quantized(stored, row);
  const Checkpoint checkpoint = quantized ? quantized->checkpoint : stored;
  const auto data = std::make_shared<ModelData>(ModelData{.checkpoint = checkpoint, .subject = subject});
  data->quantized = std::move(quantized);
  data->name = name;
  data->architecture = row ? &row_of_files(*row, checkpoint) : nullptr;
  data->config = read_model_config(checkpoint.config(), data->architecture, subject);
  if (data->architecture) add_told_lists(data->config, *data->architecture, checkpoint);
  data->modules = data->architecture ? modules_of(*data->architecture, data->config, checkpoint)
                                     : modules_by_name(checkpoint, data->name);
  if (data->architecture) {
    add_towers(*data);
    append(data->modules, untouched_modules(*data->architecture, checkpoint, data->modules));
    name_as_loaded(data->modules, {*data->architecture, checkpoint});
  }
  if (!data->architecture && data->config.tie_word_embeddings) add_tied_head(*data);
  index_modules(*data);
  find_ends(*data);
  if (data->architecture) {
    const ModuleNames& names = data->names.emplace(*data->architecture, data->config, checkpoint, data->by_name);
    data->stream = stream_of(names);
    data->value_outputs = value_outputs_of(names);
    add_mtp(*data);
    find_tower_streams(*data);
    check_no_leftover(*data);
  }
  return Model(data);
}

const Checkpoint& Model::checkpoint() const {
  return data_->checkpoint;
}
std::vector<std::string> Model::warnings() const {
  const auto& unnamed = data_->checkpoint.unnamed();
  if (unnamed.empty()) return {};
  return {fmt::format("left out: {} tensors that the shards have and their index does not name ({} in {})",
                      unnamed.size(), unnamed.begin()->first, unnamed.begin()->second)};
}
const QuantizedSource* Model::quantized_source() const {
  return data_->quantized ? &*data_->quantized : nullptr;
}
const Architecture* Model::architecture() const {
  return data_->architecture;
}
std::string_view Model::architecture_name() const {
  return data_->name;
}

int64_t Model::hidden_size() const {
  return require(data_->config.hidden_size, "hidden_size", *data_);
}
int64_t Model::num_layers() const {
  return require(data_->config.num_layers, "num_hidden_layers", *data_);
}
bool Model::is_in_layers(const Module& module) const {
  return module.layer >= 0 && module.layer < num_layers() && module.role != Role::mtp;
}
int64_t Model::num_heads() const {
  return require(data_->config.num_heads, "num_attention_heads", *data_);
}
int64_t Model::num_key_value_heads() const {
  return require(data_->config.num_key_value_heads, "num_key_value_heads", *data_);
}
const ModelConfig& Model::config() const {
  return data_->config;
}
int64_t Model::vocabulary_size() const {
  return require(data_->config.vocabulary_size, "vocab_size", *data_);
}
int64_t Model::head_dim() const {
  return require(data_->config.head_dim, "head_dim, nor hidden_size and num_attention_heads to compute it", *data_);
}
int64_t Model::value_block() const {
  if (data_->value_outputs.empty()) return head_dim();
  int64_t block = 0;
  for (const ValueOutput& pair : data_->value_outputs) block = std::gcd(block, pair.head_dim);
  return block;
}

bool Model::tied_head() const {
  return data_->config.tie_word_embeddings;
}
const Module* Model::embedding() const {
  return data_->embedding;
}
const Module* Model::head() const {
  return data_->head;
}
const std::vector<Module>& Model::modules() const {
  return data_->modules;
}

const Module* Model::find(std::string_view module) const {
  const auto found = data_->by_name.find(module);
  return found == data_->by_name.end() ? nullptr : found->second;
}

const Module* Model::owner(std::string_view tensor) const {
  const auto found = data_->by_tensor.find(tensor);
  return found == data_->by_tensor.end() ? nullptr : found->second;
}

Role Model::role(std::string_view tensor) const {
  const Module* module = owner(tensor);
  if (module) return module->role;
  const auto is_it = [&](const CheckpointTensor* mtp) { return mtp->info.name == tensor; };
  return std::ranges::any_of(data_->mtp, is_it) ? Role::mtp : Role::unknown;
}

const Stream& Model::stream() const {
  return data_->stream;
}
const std::vector<const CheckpointTensor*>& Model::mtp() const {
  return data_->mtp;
}
const std::vector<MtpHead>& Model::mtp_heads() const {
  return data_->mtp_heads;
}
std::vector<const Stream*> Model::streams() const {
  std::vector<const Stream*> all = {&data_->stream};
  for (const Stream& stream : data_->tower_streams) all.push_back(&stream);
  return all;
}
const std::vector<ValueOutput>& Model::value_outputs() const {
  return data_->value_outputs;
}

std::string Model::layer_prefix(int64_t layer) const {
  return data_->names->layer_prefix(layer);
}

const Module* Model::outer(const std::string& name) const {
  if (name.empty()) return nullptr;
  const std::vector<const Module*> found = data_->names->outer(name);
  return found.empty() ? nullptr : found.front();
}

std::string Model::refusal(std::string_view rotation) const {
  return data_->architecture ? refusal_of(*data_->architecture, data_->config, rotation) : "";
}

std::vector<const Module*> Model::named(const std::vector<std::string>& names) const {
  if (!data_->architecture) return {};
  std::vector<const Module*> found;
  for (int64_t layer = 0; layer < num_layers(); ++layer)
    for (const Module* module : data_->names->in_layer(layer, names)) found.push_back(module);
  return found;
}

}  // namespace spinor
