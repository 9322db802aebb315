// A shard of the output and its tensors, while they are written. For checkpoint_writer.cpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "spinor/base/json.h"
#include "spinor/io/digest.h"
#include "spinor/io/file.h"
#include "spinor/io/journal.h"
#include "spinor/io/safetensors.h"

namespace spinor {

struct OutputShard {
  explicit OutputShard(File f) : file(std::move(f)) {}
  // Bytes before this one are not written again, as far as anybody knows who has written up to `end`. A tensor that is
  // written in parts of rows shares pages between its parts: until it is finished it stays in the cache, else the
  // kernel would read them back from the disk part by part.
  // `begin`: of the tensor. What is before the first that this process has written is another rank's.
  std::pair<int64_t, int64_t> settled(int64_t begin, int64_t end) {
    const std::lock_guard lock(mutex);
    first = std::min(first, begin);
    return {first, in_parts.empty() ? end : std::min(end, *in_parts.begin())};
  }

  File file;
  std::atomic<int64_t> written = 0;
  std::mutex mutex;            // guards:
  int64_t first = INT64_MAX;   // where a tensor begins that this process writes
  std::set<int64_t> in_parts;  // where the unfinished tensors begin that are written in parts of rows
};

struct OutputTensor {
  size_t shard = 0;
  const TensorInfo* info = nullptr;
  std::atomic<int64_t> written = 0;    // bytes, by this run
  std::atomic<bool> in_parts = false;  // of rows
  std::mutex mutex;                    // guards:
  RowDigest rows;                      // of what was written in whole rows
  std::atomic<bool> done = false;      // by this run, with
  Json entry;
  std::optional<FinishedTensor> earlier;  // what a journal says of it
  int64_t settled_by = 0;                 // the ticket of the rank whose disk has it, as `earlier` says; 0: none
  std::once_flag checked;                 // guards:
  bool intact = false;                    // the bytes in the file have the digest that the journal says
};

// Of the tensor's bytes, read back.
RowDigest digest_of(const File& file, const TensorInfo& info);

}  // namespace spinor
