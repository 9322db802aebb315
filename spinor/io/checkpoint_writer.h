// A checkpoint directory being written: OUT.partial with a journal, one rename at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/io/shard_layout.h"

namespace spinor {

struct WriterOptions {
  bool force = false;    // replace an existing OUT, kept until the new one is complete
  bool discard = false;  // delete an OUT.partial left by another job instead of refusing it
};

class CheckpointWriter {
 public:
  // Creates or resumes OUT.partial. `job` is what the output depends on (inputs, recipe, options, version): a journal
  // with another job is refused, with the keys that differ and how to discard it. Locks OUT.partial against a second
  // run. Refuses an existing OUT without force, and an OUT inside or equal to `source`. Reserves the disk space of
  // every shard first.
  CheckpointWriter(const std::filesystem::path& out, const std::filesystem::path& source, OutputLayout layout,
                   const Json& job, WriterOptions options);
  ~CheckpointWriter();  // without finish(): OUT.partial stays, for a resume

  // The journal's entry of a tensor that an earlier run finished and whose bytes still have the digest it noted; else
  // null.
  const Json* finished(const std::string& tensor) const;
  // Writes bytes [offset, ...) of the tensor. From any thread.
  void write(const std::string& tensor, int64_t offset, std::span<const std::byte> bytes);
  // All bytes of the tensor are written: notes its digest and `entry` in the journal. From any thread.
  void finish_tensor(const std::string& tensor, const Json& entry);
  // A small file of the output directory (config.json, spinor.json, recipe.yaml).
  void add_text(const std::string& file, std::string_view text);
  void copy(const std::filesystem::path& from, const std::filesystem::path& relative);
  // Index, fsync of every file and of the directory, journal removed, rename to OUT.
  void finish();

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace spinor
