// A whole checkpoint directory: config.json, index and the header of one shard, split at 0xff bytes (never in UTF-8).
// Refused with an Error, or every tensor can be read.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "spinor/io/checkpoint.h"
#include "spinor/io/testing.h"

namespace {

constexpr std::string_view kShard = "model.safetensors";  // the only name a fuzzed index can find a file under
constexpr int64_t kDataBytes = 16;

void write(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), std::ssize(text));
}

std::string shard_of(std::string_view json) {
  const uint64_t length = json.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file.append(json).append(kDataBytes, 'x');
}

void open_and_read(const std::filesystem::path& directory) {
  const spinor::Checkpoint checkpoint = spinor::Checkpoint::open(directory);
  for (const spinor::CheckpointTensor& tensor : checkpoint.tensors()) {
    if (checkpoint.find(tensor.info.name) != &tensor) std::abort();
    if (std::ssize(checkpoint.read(tensor)) != tensor.info.bytes()) std::abort();
  }
}

// In memory: a disk takes 20 times as long.
std::filesystem::path make_directory() {
  if (std::filesystem::exists("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 0);
  static const spinor::testing::TemporaryDirectory directory;
  return directory.path();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path directory = make_directory();
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::array<std::string_view, 3> parts;
  for (std::string_view& part : parts) {
    part = rest.substr(0, rest.find('\xff'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  }
  write(directory / "config.json", parts[0]);
  const auto index = directory / "model.safetensors.index.json";
  if (parts[1].empty())
    std::filesystem::remove(index);
  else
    write(index, parts[1]);
  write(directory / kShard, shard_of(parts[2]));
  try {
    open_and_read(directory);
  } catch (const spinor::Error&) {
  }
  return 0;
}
