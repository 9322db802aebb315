// How ranks that share nothing but a directory hear of each other: each says in a file there what it does, and reads
// what the others say.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/rank_watch.h"

namespace spinor {

class RankBoard {
 public:
  // Takes a ticket in `directory`, which is there, and begins to beat. Errors: an attempt that is not the newest any
  // more; a rank of the same attempt has failed, and this one was not there before.
  RankBoard(std::filesystem::path directory, const Rank& rank);
  ~RankBoard();
  RankBoard(const RankBoard&) = delete;
  RankBoard& operator=(const RankBoard&) = delete;

  int64_t ticket() const { return mine_.ticket; }
  // Error if this rank must stop. Cheap: from every block.
  void check() const;
  // Of the ranks that were launched together, all of which have begun, this one's included. Error if one is gone.
  std::vector<int64_t> tickets();
  // The share is on the disk.
  void done();
  // Leaves a note for the others, unless one of them is the reason.
  void fail(const std::string& reason) noexcept;
  // Gives up, for a reason that is nobody else's.
  void leave() noexcept;

  struct Ending {
    bool mine = false;              // this process is to complete the output, and nobody else
    std::vector<int> pending = {};  // neither, by hand: ranks whose shares are not done; else another completes it
  };
  // After done(). Launched ranks wait here until all are done, and but for one until the output is complete. `whole`:
  // whether all is there that `settled` tickets have finished, with what this process has.
  Ending wait(const std::function<bool(std::span<const int64_t> settled)>& whole);

 private:
  void look();
  std::optional<Ending> ending_now(const std::function<bool(std::span<const int64_t>)>& whole);
  void watch(const std::stop_token& stop);
  void update(RankPhase phase, const std::string& reason);
  // Whether this process may complete the output; nothing: that cannot be said yet.
  std::optional<bool> claim();
  bool take_from(int64_t owner);
  std::chrono::milliseconds interval() const;

  const std::filesystem::path directory_;
  const Rank rank_;
  mutable std::mutex mutex_;  // guards:
  RankStatus mine_;
  std::unique_ptr<RankWatch> watch_;
  std::optional<Error> problem_;
  std::atomic<bool> stopped_ = false;  // problem_ is there
  std::atomic<bool> gone_ = false;     // the directory, or the own status in it
  std::jthread thread_;
};

// For a rank that fails, perhaps before it has a board: a note in `directory`, OUT.partial, so that those it was
// launched with need not wait for it. Nothing if this process has said there how it ended. Creates the directory.
void note_failure(const std::filesystem::path& directory, const Rank& rank, const std::string& reason) noexcept;

}  // namespace spinor
