#include "spinor/io/output_shard.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace spinor {
namespace {

constexpr int64_t kDigestedBytes = 1 << 20;  // read at a time

}  // namespace

RowDigest digest_of(const File& file, const TensorInfo& info) {
  const int64_t row = info.row_bytes(), step = row > 0 ? std::max<int64_t>(1, kDigestedBytes / row) * row : 1;
  std::vector<std::byte> block(static_cast<size_t>(std::min(step, info.bytes())));
  RowDigest digest;
  for (int64_t at = 0; at < info.bytes(); at += step) {
    const auto part = std::span(block).first(static_cast<size_t>(std::min(step, info.bytes() - at)));
    file.read(info.begin + at, part);
    digest.add(at / row, row, part);
  }
  return digest;
}

}  // namespace spinor
