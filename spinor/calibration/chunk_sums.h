// The sums over all chunks of what they show: Hessians, and ranges of activations. Each is the sum of one rank, its
// owner's, to which the others send what their samples have shown. Chunks are added in their order, whoever has seen
// them, so that no bit depends on the number of ranks or on who was slow.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "spinor/calibration/chunk.h"
#include "spinor/calibration/chunk_message.h"
#include "spinor/quant/activation_range.h"
#include "spinor/ranks/rank_group.h"

namespace spinor::calibration {

class ChunkSums {
 public:
  // Of `chunks` in all, which go to the ranks in turn. Hessians are on this device.
  ChunkSums(RankGroup& group, int threads, int64_t chunks, const at::Device& device)
      : group_(group), threads_(threads), chunks_(chunks), device_(device) {}

  // All ranks want the same, before the first chunk. Ranges are rank 0's.
  void want(const std::string& linear, int owner) { wanted_[linear].owner = owner; }
  void want(const WatchedPlace& place, ActivationRange range) { ranges_.emplace(place, std::move(range)); }
  bool wants(const std::string& linear) const { return wanted_.contains(linear); }
  const ActivationRange* range(const WatchedPlace& place) const;

  // The next of this rank's chunks; all ranks wait for each other here.
  void add(const Chunk& chunk);
  // This rank has no more.
  void finish();

  // Of a linear that this rank owns; linears that read the same have the same one. Null: nothing came.
  std::shared_ptr<Hessian>& hessian(const std::string& linear) { return wanted_.at(linear).hessian; }
  // The first linear of this rank, as they came, whose inputs were not finite.
  std::string first_not_finite() const;
  void clear();

 private:
  struct Wanted {
    int owner = 0;
    std::shared_ptr<Hessian> hessian = {};
  };
  std::vector<std::string> linears_of(int owner) const;
  void round(const Chunk* mine);
  void send_all(const Chunk& mine);
  void add_up(const std::vector<Contribution>& contributions);
  ChunkRanges ranges_of(const Chunk& chunk) const;
  void add_ranges(ChunkRanges ranges);
  Hessian& hessian_of(const Contribution& contribution);

  RankGroup& group_;
  int threads_;
  int64_t chunks_;
  at::Device device_;
  int64_t next_ = 0;  // chunk: rank 0's of the next round
  std::map<std::string, Wanted> wanted_;
  std::map<WatchedPlace, ActivationRange> ranges_;
  std::vector<std::string> order_;  // of linears with a Hessian, as they first came
};

}  // namespace spinor::calibration
