// A Hugging Face checkpoint directory, opened for reading: config.json, one or more safetensors files, other files. Or
// what is in memory of one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/io/file.h"
#include "spinor/io/memory_tensor.h"
#include "spinor/io/safetensors.h"

namespace spinor {

// What the files hold of a tensor that is not in them as it is. Who makes one derives what it knows of how the parts
// become the tensor.
struct StoredForm;

struct CheckpointTensor {
  TensorInfo info;
  int file = 0;  // index into Checkpoint::shards()
  // Not null: the tensor lies there, in no file.
  std::shared_ptr<const MemoryTensor> memory = {};
  // Null: the files have the tensor as `info` says. Else `info` is what it means, and its bytes are not to be read.
  std::shared_ptr<const StoredForm> form = {};
};

struct StoredForm {
  std::vector<CheckpointTensor> parts;  // each in one file
};

class Checkpoint {
 public:
  // Opens model.safetensors.index.json or model.safetensors, checks every header against the file and the index (no
  // shard outside the directory; no tensor missing from the shard that the index says), reads config.json. A tensor in
  // several shards is that of the last of them by name, which is what transformers loads: Error if the index says
  // another. What the index does not name is not read.
  static Checkpoint open(const std::filesystem::path& directory);

  // A model in memory, which must stay: `name` stands for the directory in errors, `tensors` have the names that they
  // would have in files, in their order. There are no other files.
  static Checkpoint of_memory(std::string name, Json config, std::vector<MemoryTensor> tensors);

  // The same files with another config and other tensors: those that quantized ones mean.
  Checkpoint with(Json config, std::vector<CheckpointTensor> tensors) const;

  const std::filesystem::path& directory() const;
  const Json& config() const;                         // config.json
  std::span<const CheckpointTensor> tensors() const;  // in file order, shard after shard
  const CheckpointTensor* find(std::string_view name) const;
  const CheckpointTensor& at(std::string_view name) const;  // Error naming the tensor if absent
  const std::vector<File>& shards() const;
  // Tensors that a shard has and the index does not name, and that shard.
  const std::map<std::string, std::string>& unnamed() const;
  // The hint of an Error about a tensor that is not there: `otherwise`, unless it is one of unnamed().
  std::string hint_for_missing(const std::string& name, std::string otherwise) const;
  // Everything else to carry along (tokenizer, generation_config.json, remote code, README ...), relative paths,
  // sorted; not config.json, weights in any format, indexes, spinor.json, recipe.yaml, calibration.json, hidden files
  // and directories.
  std::vector<std::filesystem::path> other_files() const;

  // Reads bytes [offset, offset + out.size()) of the tensor.
  void read(const CheckpointTensor& tensor, int64_t offset, std::span<std::byte> out) const;
  // All bytes of the tensor; for norms, biases and tests.
  std::vector<std::byte> read(const CheckpointTensor& tensor) const;
  // A hint: all of it will be read, in small pieces.
  void expect_reads(const CheckpointTensor& tensor) const;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

}  // namespace spinor
