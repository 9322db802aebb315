// How ranks that share nothing but a directory hear of each other: each says in a file there what it does, and reads
// what the others say.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/rank_status.h"

namespace spinor {

// What one rank knows of the others, and what follows from it.
class RankWatch {
 public:
  RankWatch(const Rank& rank, RankStatus mine);

  // Takes a look: statuses by ticket, mine among them. `now`: of this machine.
  void look(std::vector<RankStatus> statuses, std::chrono::steady_clock::time_point now);

  // Why this rank must stop; nothing: it need not. A newer attempt has begun, or the same rank was started again; and
  // of ranks that a launcher started, one has failed, was killed, does not appear, or is silent. Of those started by
  // hand, failures count once the own share is done: `finishing`.
  std::optional<Error> problem(bool finishing) const;
  // A rank of the same attempt that has failed and was not started again, though it may refuse one that comes later.
  std::optional<Error> refusal() const;
  bool superseded() const;
  std::vector<int> pending() const;  // ranks of this attempt that are not done
  // Tickets of whoever is done: what their journals name needs no second look. Of launched ranks those of this attempt
  // alone, which sync nothing that the one who completes the output will.
  std::vector<int64_t> settled() const;
  // Whether the one with this ticket is at work; nothing: that cannot be said yet.
  std::optional<bool> works(int64_t ticket) const;

 private:
  struct Heard {
    int64_t beat = 0;
    std::chrono::steady_clock::time_point changed = {};  // when a new beat was last seen
    bool alive = false;                                  // since we look, it was seen to live
  };
  std::optional<RankStatus> latest(int rank) const;  // of this attempt, and this start of it
  bool counts(const RankStatus& status) const;
  std::optional<Error> problem_of(int rank, bool finishing) const;

  Rank rank_;
  RankStatus mine_;
  std::vector<RankStatus> statuses_;
  std::map<int64_t, Heard> heard_;  // by ticket
  std::chrono::steady_clock::time_point now_ = {};
  std::filesystem::file_time_type begun_ = {};  // by the clock of the directory: when this process began
};

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

// For a rank that fails before it has opened `out`: a note in OUT.partial, so that those it was launched with need not
// wait for it. Creates OUT.partial where there is no `out`.
void note_failure(const std::filesystem::path& out, const Rank& rank, const std::string& reason) noexcept;

}  // namespace spinor
