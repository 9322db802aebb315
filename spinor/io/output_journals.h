// All journals of an output directory that is being written: that of a process alone, and one of each rank.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/io/journal.h"

namespace spinor {

class OutputJournals {
 public:
  // Begins, or goes on with, the own one in `partial`. `ticket`: of a rank (io/rank_status.h), 0: alone. Error if any
  // of them is of another job, or if there is none in a directory that has something else.
  OutputJournals(const std::filesystem::path& partial, const Json& job, int64_t ticket);

  // What all have finished before now; where two name one tensor, any.
  const std::vector<FinishedTensor>& earlier() const { return earlier_; }
  void add(const FinishedTensor& tensor) { own_->add(tensor); }  // to the own one, from any thread
  void sync() { own_->sync(); }
  // What the rank with this ticket has finished by now.
  std::vector<FinishedTensor> finished_by(int64_t ticket) const;

 private:
  JournalLines read(const std::filesystem::path& path) const;

  std::filesystem::path partial_;
  Json job_;
  bool ranks_;
  std::vector<FinishedTensor> earlier_;
  std::optional<Journal> own_;
};

// Of a process alone.
std::filesystem::path journal_file(const std::filesystem::path& partial);

}  // namespace spinor
