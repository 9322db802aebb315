// What a rank says of itself, in a file that the others read: OUT.partial/rank-000007.json, 7 being its ticket.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/rank.h"

namespace spinor {

// writing: it works on its share. done: its share is on the disk. failed: for a reason of its own. left: it gave up
// because of another rank.
enum class RankPhase { writing, done, failed, left };

struct RankStatus {
  int64_t ticket = 0;  // ranks take them one by one, so a larger one came later
  int rank = 0, ranks = 1;
  bool launched = false;
  std::string attempt = {};
  std::string host = {}, place = {};  // place: what tells the processes of one machine or container from others
  int64_t process = 0;
  RankPhase phase = RankPhase::writing;
  std::string reason = {};  // of a failure
  int64_t beat = 0;         // grows while it lives
  std::filesystem::file_time_type modified = {};

  // Started as one.
  bool same_attempt(const RankStatus& other) const {
    return ranks == other.ranks && attempt == other.attempt && launched == other.launched;
  }
  bool same_process(const RankStatus& other) const {
    return host == other.host && place == other.place && process == other.process;
  }
  std::string text() const;          // "rank 3 of 8"
  std::string who() const;           // "process 123 on host"
  std::optional<bool> runs() const;  // its process; nothing: it is of another machine or container
};

// Of this process; ticket and beat are 0.
RankStatus status_of(const Rank& rank);

// Takes the next ticket in `directory`, and writes the file. No two processes get the same, on NFS either.
void take_ticket(const std::filesystem::path& directory, RankStatus& status);
// Writes it anew where it is; nothing is created, so false where the file is gone. Space for it is taken with the
// ticket: a full disk does not keep a rank from saying so.
bool write_status(const std::filesystem::path& directory, const RankStatus& status);
// By ticket. A file that is being written is left out.
std::vector<RankStatus> read_statuses(const std::filesystem::path& directory);

std::filesystem::path status_file(const std::filesystem::path& directory, int64_t ticket);
std::filesystem::path journal_file(const std::filesystem::path& directory, int64_t ticket);
// Files of ranks, of any kind.
bool is_of_ranks(const std::filesystem::path& name);

// A file that nobody else has made: false if it is there. Its text is in it from the beginning. On NFS, too: link(2).
bool create_once(const std::filesystem::path& path, const std::string& text);

}  // namespace spinor
