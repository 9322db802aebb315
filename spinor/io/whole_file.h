// Files that are there as a whole, or as they were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "spinor/io/file.h"
#include "spinor/io/safetensors.h"

namespace spinor {

// Calls `write` with a file of so many bytes, path.tmp, syncs it, renames it.
void write_whole(const std::filesystem::path& path, int64_t bytes, const std::function<void(File&)>& write);

// A tensor and its bytes, which stay the caller's.
struct TensorBytes {
  TensorInfo info;
  std::span<const std::byte> bytes;
};
// A safetensors file.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace spinor
