// What one rank makes of what all say of themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
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
  std::vector<int64_t> tickets() const;  // of this attempt, the latest of each rank
  std::vector<int> pending() const;      // ranks of this attempt that are not done
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

}  // namespace spinor
