// Hidden channels of MLPs in an order that makes the blocks of an online rotation alike: PeRQ (arXiv 2601.22347,
// section 4). A block-diagonal R4 spreads an outlier over its block alone, so the large channels are to be in blocks of
// their own, as far as there are enough.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/linear.h"
#include "spinor/transform/hidden_channels.h"

namespace spinor::learning {

// Channels whose reader has a rotation of blocks of this size at its input.
struct BlockedChannels {
  HiddenChannels channels;
  int64_t block = 0;
};
// Of those that may change their order. Nothing where nobody knows how the model's MLPs compute.
std::vector<BlockedChannels> blocked_channels(const RewritePlan& plan);

// The order, channel i being what channel order[i] was, in which sums of `mass` over blocks are alike: from the largest
// on each channel goes to the block with the least sum of those that are not full. `block` divides their number.
std::vector<int64_t> balanced_order(std::span<const double> mass, int64_t block);

// Means of the absolute values of channels. Tokens weigh as they do for scales m.
class ChannelMass {
 public:
  explicit ChannelMass(const std::vector<BlockedChannels>& channels);

  // As ScaleStatistics::add().
  void add(const runtime::Linear& linear, const at::Tensor& x, int64_t context);
  // By HiddenChannels::name; none where no token came.
  std::map<std::string, std::vector<double>> mass() const;

 private:
  struct Sum {
    at::Tensor values;
    double weight = 0;
  };
  std::map<std::string, Sum> sums_;
};

}  // namespace spinor::learning
