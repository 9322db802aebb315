// One of several processes, of one machine or of many, that do one piece of work together, each a share of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace spinor {

struct Rank {
  int rank = 0, ranks = 1;
  // All are started together by a launcher, and wait for each other. False: by hand, perhaps hours apart, and whoever
  // is last completes the work.
  bool launched = false;
  // The name of this start of all ranks; empty: it has none. `unique`: no other start ever has it.
  std::string attempt = {};
  bool unique = false;
  // How long a launched rank is waited for that is not heard of.
  std::chrono::milliseconds patience{300'000};
  std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();  // when this process began its work

  bool alone() const { return ranks == 1; }
  std::string text() const { return "rank " + std::to_string(rank) + " of " + std::to_string(ranks); }
};

// Where ranks find each other that send each other something.
struct RankMeeting {
  std::string host = {};  // of rank 0
  uint16_t port = 0;
  bool served = false;              // another process answers there, torchrun's agent
  std::filesystem::path file = {};  // without a host: on a file system that all see; of this start of all ranks alone
};

}  // namespace spinor
