// Ranks that send each other tensors, through libtorch's gloo. Each knows from its own work what comes next, so that
// all send and receive in one order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "spinor/base/rank.h"

namespace spinor {

class RankGroup {
 public:
  // Alone: nothing is sent.
  RankGroup();
  // Waits for all ranks, each of which says the same of `common`. `check`: of any thread, cheap, called several times a
  // second while this rank waits for another; what it throws ends the wait. Errors: a rank that does not appear within
  // rank.patience, or has something else in common.
  RankGroup(const Rank& rank, const RankMeeting& meeting, const std::string& common, std::function<void()> check = {});
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  int rank() const { return rank_.rank; }
  int ranks() const { return rank_.ranks; }
  bool alone() const { return rank_.alone(); }

  // Contiguous tensors of the CPU. What is sent is kept, and stays as it is, until flush(), which waits until it has
  // arrived. Error, naming the other rank, if it is gone; or what `check` says of it.
  void send(int to, at::Tensor tensor);
  void receive(int from, at::Tensor& into);
  void flush();

  // What add(all, theirs) makes of rank 0's, of rank 1's and so on: by rank 0, for tensors of one shape. All have the
  // result, none before all have asked.
  at::Tensor over_all(at::Tensor mine, const std::function<void(at::Tensor& all, const at::Tensor& theirs)>& add);
  // Of each place.
  std::vector<int64_t> smallest(const std::vector<int64_t>& values);
  std::vector<int64_t> largest(const std::vector<int64_t>& values);

 private:
  class Network;

  Rank rank_;
  std::unique_ptr<Network> network_;
};

// Those, or this process alone.
RankGroup& or_alone(RankGroup* ranks);

}  // namespace spinor
