// A checkpoint directory being written: OUT.partial with a journal, one rename at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/base/rank.h"
#include "spinor/io/shard_layout.h"

namespace spinor {

struct WriterOptions {
  bool force = false;    // replace an existing OUT, kept until the new one is complete
  bool discard = false;  // delete what an earlier run left in OUT.partial and start again
  Rank rank = {};        // of several: each finishes its share of the tensors, one of them completes the output
};

// Who completes the output.
struct Completion {
  bool mine = true;               // this process, by finish()
  std::vector<int> pending = {};  // nobody yet: these ranks, started by hand, are not done; empty: another process
};

// Nothing is at OUT until finish() has succeeded. A run that ends before (an exception, kill -9, a power failure)
// leaves OUT.partial; the next one with the same job goes on from there and ends with the same bytes.
class CheckpointWriter {
 public:
  // Creates or resumes OUT.partial. `job` is an object of all that the output depends on (inputs, recipe, options,
  // version): a journal with another job is refused, with the keys that differ and how to discard it. Locks OUT.partial
  // against a second run. Refuses an existing OUT without force, and an OUT that is, contains or lies in `source`.
  // Reserves the disk space of every shard first.
  CheckpointWriter(const std::filesystem::path& out, const std::filesystem::path& source, OutputLayout layout,
                   const Json& job, WriterOptions options);
  ~CheckpointWriter();  // without finish(): OUT.partial stays, for a resume

  // The journal's entry of a tensor that is finished: by this run, or by an earlier one if its bytes still have the
  // digest it noted. Reads the tensor's bytes the first time. From any thread.
  std::optional<Json> finished(const std::string& tensor) const;
  // Whether an earlier run has finished it, as far as finished() was asked, and this one has not done it again.
  bool resumed(const std::string& tensor) const;
  // The bytes of a tensor that is finished, or was shared by another rank.
  std::vector<std::byte> read(const std::string& tensor) const;
  // Writes bytes [offset, ...) of the tensor. From any thread.
  void write(const std::string& tensor, int64_t offset, std::span<const std::byte> bytes);
  // All bytes of the tensor are written (Error if they are not): notes their digest, read back, and `entry` in the
  // journal. From any thread.
  void finish_tensor(const std::string& tensor, const Json& entry);
  // A small file of the output directory (config.json, spinor.json, recipe.yaml).
  void add_text(const std::filesystem::path& relative, std::string_view text);
  void copy(const std::filesystem::path& from, const std::filesystem::path& relative);
  // Of several launched ranks, in the middle of the work: what this one has written so far may be read by the others;
  // what any of them had shared by now is finished here, too.
  void share();
  void take_over();
  // Of several ranks: the share of this one is finished, and goes to the disk. Launched ranks wait for each other here.
  // Error for what keeps the others from finishing. Alone: mine.
  Completion complete();
  // Error if another rank has failed or a newer attempt has begun: this one need not go on. From any thread, cheap.
  void check() const;
  // Leaves a note of the failure to the other ranks.
  void fail(const std::string& reason) noexcept;
  // Error unless every tensor is finished. Index, files of earlier runs that are not part of the output deleted, fsync
  // of every file and directory, rename to OUT, OUT.partial deleted. The writer is of no use afterwards.
  void finish();

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace spinor
