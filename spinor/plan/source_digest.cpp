#include "spinor/plan/source_digest.h"

#include <algorithm>
#include <span>
#include <vector>

#include "spinor/io/digest.h"

namespace spinor {

std::string digest_of(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  if (tensor.form) {
    Digest digest;
    for (const CheckpointTensor& part : tensor.form->parts) {
      const std::string line = digest_of(checkpoint, part);
      digest.update(std::as_bytes(std::span(line)));
    }
    return digest.hex();
  }
  constexpr int64_t kChunk = 1 << 18;
  const int64_t row = tensor.info.row_bytes(), step = row > 0 ? std::max<int64_t>(1, kChunk / row) * row : 1;
  std::vector<std::byte> buffer;
  RowDigest digest;
  for (int64_t at = 0; at < tensor.info.bytes(); at += step) {
    buffer.resize(static_cast<size_t>(std::min(step, tensor.info.bytes() - at)));
    checkpoint.read(tensor, at, buffer);
    digest.add(at / row, row, buffer);
  }
  return digest.hex();
}

Json source_digests(const Checkpoint& source, const std::map<std::string, std::string>& digests) {
  std::vector<Digest> files(source.shards().size());
  for (const CheckpointTensor& tensor : source.tensors()) {
    const auto digest = digests.find(tensor.info.name);
    const std::string line = tensor.info.name + " " + (digest == digests.end() ? "-" : digest->second) + "\n";
    files[static_cast<size_t>(tensor.file)].update(std::as_bytes(std::span(line)));
  }
  Json json = Json::object();
  for (size_t i = 0; i < files.size(); ++i) json[source.shards()[i].path().filename().string()] = files[i].hex();
  return json;
}

}  // namespace spinor
