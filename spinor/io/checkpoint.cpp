#include "spinor/io/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/io/shard_index.h"

namespace spinor {

struct Checkpoint::Data {
  std::filesystem::path directory;
  Json config;
  std::shared_ptr<const std::vector<File>> shards;  // shared by checkpoints that read the same files otherwise
  std::vector<CheckpointTensor> tensors;
  std::map<std::string, std::string> unnamed;  // by the index, and their shards
  bool in_memory = false;
  std::unordered_map<std::string_view, const CheckpointTensor*> by_name;

  void open_shards();
  void index();
};

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

// Weights in any format. (tokenizer.model is none.)
constexpr auto kWeightExtensions =
    std::to_array<std::string_view>({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".onnx",
                                     ".onnx_data", ".h5", ".msgpack", ".tflite", ".ot", ".npz", ".mlmodel"});
// Each output has its own.
constexpr auto kOwnFiles =
    std::to_array<std::string_view>({"config.json", "spinor.json", "recipe.yaml", "calibration.json"});

bool is_weight(const fs::path& file) {
  return std::ranges::find(kWeightExtensions, file.extension().string()) != kWeightExtensions.end();
}

bool is_carried(const fs::path& relative) {
  return !is_weight(relative) && !relative.string().ends_with(".index.json") &&
         std::ranges::find(kOwnFiles, relative.string()) == kOwnFiles.end();
}

// Why there is nothing to open, as precisely as the directory's other files tell.
Error no_weights(const fs::path& directory) {
  const std::string problem = fmt::format("has neither {} nor {}", kSingle, kIndex);
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.insert(entry.path().filename().string());
  for (const std::string& file : files) {
    if (file == "adapter_model.safetensors")
      return Error(directory.string(), problem + ", only an adapter", "merge the adapter into its model first");
    if (is_weight(file) && !file.ends_with(".safetensors"))
      return Error(directory.string(), fmt::format("{}, only {}", problem, file),
                   "convert it to safetensors: load it with transformers, then save_pretrained");
  }
  return Error(directory.string(), problem, "give a directory as save_pretrained writes it");
}

// Tensor name to shard; without an index both sides come from the one file.
std::map<std::string, std::string> find_shards(const fs::path& directory) {
  const bool single = fs::exists(directory / kSingle), index = fs::exists(directory / kIndex);
  if (!single && !index) throw no_weights(directory);
  if (!index) {
    std::map<std::string, std::string> shards;
    for (TensorInfo& tensor : read_safetensors_header(File::open(directory / kSingle)).tensors)
      shards[std::move(tensor.name)] = kSingle;
    if (shards.empty()) throw Error((directory / kSingle).string(), "holds no tensors");
    return shards;
  }
  auto shards = parse_shard_index(read_text(directory / kIndex, kMaxHeaderBytes), (directory / kIndex).string());
  if (single && !std::ranges::all_of(shards, [](const auto& entry) { return entry.second == kSingle; }))
    throw Error(directory.string(), fmt::format("has both {} and {}", kSingle, kIndex),
                "delete the one that does not belong to the model");
  return shards;
}

File open_shard(const fs::path& directory, const std::string& shard) {
  if (!fs::exists(directory / shard))
    throw Error((directory / kIndex).string(), fmt::format("shard {} does not exist", shard),
                "download or copy the missing file");
  return File::open(directory / shard);
}

// Whether this copy of the tensor, in a shard that the index does not say, is one that nobody loads. transformers
// loads the shards in the order of their names, so that the last copy counts.
bool is_superseded(const std::string& tensor, const std::string& shard, const std::string& indexed,
                   const fs::path& directory) {
  if (shard < indexed) return true;
  throw Error((directory / shard).string(),
              fmt::format("{} is in the file, but {} says it is in {}", tensor, kIndex, indexed),
              fmt::format("delete it from one of them, or let the index say {}: transformers loads the last", shard));
}

Json read_config(const fs::path& directory) {
  const fs::path path = directory / "config.json";
  if (!fs::exists(path))
    throw Error(directory.string(), "has no config.json", "give a directory as save_pretrained writes it");
  Json config = parse_python_json(read_text(path, kMaxHeaderBytes), path.string());
  if (!config.is_object()) throw Error(path.string(), "is not an object");
  return config;
}

void check_directory(const fs::path& directory) {
  if (!fs::exists(directory)) throw Error(directory.string(), "no such directory");
  if (!fs::is_directory(directory))
    throw Error(directory.string(), "is not a directory", "give the directory that holds config.json and the weights");
}

std::vector<fs::path> list_carried(const fs::path& directory) {
  std::vector<fs::path> files;
  // Links to directories are not followed: they could lead anywhere, even back here.
  for (auto entry = fs::recursive_directory_iterator(directory); entry != fs::end(entry); ++entry) {
    const fs::path relative = entry->path().lexically_relative(directory);
    if (relative.filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
      continue;
    }
    if (!is_carried(relative)) continue;
    if (entry->is_symlink() && !entry->exists())
      throw Error(entry->path().string(), "is a symbolic link to a missing file", "download it again or delete it");
    if (entry->is_regular_file()) files.push_back(relative);
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

void Checkpoint::Data::open_shards() {
  const auto shard_of = find_shards(directory);
  std::set<std::string> files;
  for (const auto& [tensor, shard] : shard_of) files.insert(shard);
  std::vector<File> opened;
  for (const std::string& shard : files) {
    const int file = static_cast<int>(opened.size());
    opened.push_back(open_shard(directory, shard));
    for (TensorInfo& tensor : read_safetensors_header(opened.back()).tensors) {
      const auto found = shard_of.find(tensor.name);
      if (found == shard_of.end())
        unnamed[std::move(tensor.name)] = shard;
      else if (found->second == shard || !is_superseded(tensor.name, shard, found->second, directory))
        tensors.push_back({std::move(tensor), file});
    }
  }
  shards = std::make_shared<const std::vector<File>>(std::move(opened));
  index();
  for (const auto& [tensor, shard] : shard_of)
    if (!by_name.contains(tensor))
      throw Error((directory / kIndex).string(), fmt::format("{} is not in {}, where it should be", tensor, shard));
}

void Checkpoint::Data::index() {
  for (const CheckpointTensor& tensor : tensors) by_name[tensor.info.name] = &tensor;
}

Checkpoint Checkpoint::open(const fs::path& directory) {
  return with_system_errors([&] {
    check_directory(directory);
    auto data = std::make_shared<Data>();
    data->directory = directory;
    data->config = read_config(directory);
    data->open_shards();
    Checkpoint checkpoint;
    checkpoint.data_ = std::move(data);
    return checkpoint;
  });
}

Checkpoint Checkpoint::of_memory(std::string name, Json config, std::vector<MemoryTensor> tensors) {
  auto data = std::make_shared<Data>();
  data->directory = std::move(name);
  data->config = std::move(config);
  data->shards = std::make_shared<const std::vector<File>>();
  data->in_memory = true;
  for (MemoryTensor& tensor : tensors) {
    TensorInfo info = tensor.info;
    data->tensors.push_back({std::move(info), -1, std::make_shared<const MemoryTensor>(std::move(tensor))});
  }
  data->index();
  if (data->by_name.size() != data->tensors.size())
    throw Error(data->directory.string(), "has two tensors of one name");
  Checkpoint checkpoint;
  checkpoint.data_ = std::move(data);
  return checkpoint;
}

Checkpoint Checkpoint::with(Json config, std::vector<CheckpointTensor> tensors) const {
  auto data = std::make_shared<Data>();
  data->directory = data_->directory;
  data->config = std::move(config);
  data->shards = data_->shards;
  data->unnamed = data_->unnamed;
  data->in_memory = data_->in_memory;
  data->tensors = std::move(tensors);
  data->index();
  Checkpoint checkpoint;
  checkpoint.data_ = std::move(data);
  return checkpoint;
}

const fs::path& Checkpoint::directory() const {
  return data_->directory;
}
const Json& Checkpoint::config() const {
  return data_->config;
}
std::span<const CheckpointTensor> Checkpoint::tensors() const {
  return data_->tensors;
}
const std::vector<File>& Checkpoint::shards() const {
  return *data_->shards;
}

const CheckpointTensor* Checkpoint::find(std::string_view name) const {
  const auto found = data_->by_name.find(name);
  return found == data_->by_name.end() ? nullptr : found->second;
}

const CheckpointTensor& Checkpoint::at(std::string_view name) const {
  const CheckpointTensor* tensor = find(name);
  if (!tensor)
    throw Error(std::string(name), fmt::format("no such tensor in {}", data_->directory.string()),
                hint_for_missing(std::string(name), ""));
  return *tensor;
}

const std::map<std::string, std::string>& Checkpoint::unnamed() const {
  return data_->unnamed;
}

std::string Checkpoint::hint_for_missing(const std::string& name, std::string otherwise) const {
  const auto found = data_->unnamed.find(name);
  if (found == data_->unnamed.end()) return otherwise;
  return fmt::format("{} has it, but {} does not name it: add it to weight_map there", found->second, kIndex);
}

std::vector<fs::path> Checkpoint::other_files() const {
  if (data_->in_memory) return {};
  return with_system_errors([&] { return list_carried(data_->directory); });
}

void Checkpoint::read(const CheckpointTensor& tensor, int64_t offset, std::span<std::byte> out) const {
  if (offset < 0 || offset > tensor.info.bytes() || std::ssize(out) > tensor.info.bytes() - offset)
    throw Error(tensor.info.name, fmt::format("bytes [{}, {}) are not among its {}", offset, offset + std::ssize(out),
                                              tensor.info.bytes()));
  if (tensor.memory) return tensor.memory->read(offset, out);
  (*data_->shards)[static_cast<size_t>(tensor.file)].read(tensor.info.begin + offset, out);
}

std::vector<std::byte> Checkpoint::read(const CheckpointTensor& tensor) const {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.info.bytes()));
  read(tensor, 0, bytes);
  return bytes;
}

void Checkpoint::expect_reads(const CheckpointTensor& tensor) const {
  if (!tensor.memory)
    (*data_->shards)[static_cast<size_t>(tensor.file)].expect_reads(tensor.info.begin, tensor.info.bytes());
}

}  // namespace spinor
