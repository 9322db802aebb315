// The journal of an output directory that is being written: JSON lines, the job first, then every finished tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/io/file.h"

namespace spinor {

struct FinishedTensor {
  std::string tensor;
  std::string digest;  // of its bytes in the file
  Json entry;          // what the caller wants to know of it after a resume
};

struct JournalLines {
  Json job;
  std::vector<FinishedTensor>
      finished;         // in the order of the lines; a later one of the same tensor replaces an earlier one
  int64_t process = 0;  // the last one to write it
  int64_t bytes = 0;    // of the lines that could be read
};

// Reads as far as lines are whole: a torn one, and what follows it, counts as not written. Throws if there is no job.
JournalLines read_journal(const std::filesystem::path& path);

// The keys, dotted, at which two jobs differ, with both values: "options.seed was 1, is 2". Empty if they are equal,
// whatever the order of their keys.
std::vector<std::string> differences(const Json& before, const Json& now);

class Journal {
 public:
  // Begins a journal: it exists with the whole job in it, or not at all.
  Journal(const std::filesystem::path& path, const Json& job);
  // Goes on after `lines`, which were read from it.
  Journal(const std::filesystem::path& path, const JournalLines& lines);

  void add(const FinishedTensor& tensor);  // from any thread
  void sync() { file_.sync(); }

 private:
  void append(const Json& line);

  File file_;
  int64_t end_;
  std::mutex mutex_;
};

}  // namespace spinor
