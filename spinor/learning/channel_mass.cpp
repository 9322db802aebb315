#include "spinor/learning/channel_mass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/learning/token_weights.h"

namespace spinor::learning {

std::vector<BlockedChannels> blocked_channels(const RewritePlan& plan) {
  std::vector<BlockedChannels> blocked;
  try {
    for (HiddenChannels& channels : hidden_channels(plan.model())) {
      const auto at_reader = [&](const OnlineTransform& online) {
        return online.module == channels.name && online.location == TransformLocation::input;
      };
      const auto found = std::ranges::find_if(plan.online(), at_reader);
      if (found != plan.online().end() && found->r.size() < channels.reader.size && why_ordered(channels).empty())
        blocked.push_back({std::move(channels), found->r.size()});
    }
  } catch (const Error&) {
    return {};
  }
  return blocked;
}

std::vector<int64_t> balanced_order(std::span<const double> mass, int64_t block) {
  std::vector<int64_t> largest_first(mass.size());
  std::iota(largest_first.begin(), largest_first.end(), 0);
  std::ranges::stable_sort(largest_first, std::greater(), [&](int64_t i) { return mass[static_cast<size_t>(i)]; });
  struct Filling {
    double sum = 0;
    int64_t next = 0, end = 0;
    bool operator>(const Filling& other) const { return std::pair(sum, end) > std::pair(other.sum, other.end); }
  };
  std::priority_queue<Filling, std::vector<Filling>, std::greater<>> blocks;
  for (int64_t begin = 0; begin < std::ssize(mass); begin += block) blocks.push({0, begin, begin + block});
  std::vector<int64_t> order(mass.size());
  for (const int64_t channel : largest_first) {
    Filling least = blocks.top();
    blocks.pop();
    order[static_cast<size_t>(least.next++)] = channel;
    least.sum += mass[static_cast<size_t>(channel)];
    if (least.next < least.end) blocks.push(least);
  }
  return order;
}

ChannelMass::ChannelMass(const std::vector<BlockedChannels>& channels) {
  for (const BlockedChannels& one : channels) sums_[one.channels.name];
}

void ChannelMass::add(const runtime::Linear& linear, const at::Tensor& x, int64_t context) {
  const auto found = sums_.find(linear.name);
  if (found == sums_.end()) return;
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(at::kFloat), weights = token_weights(rows, context);
  const at::Tensor sum = rows.abs().mul_(weights.unsqueeze(1)).sum(0, false, at::kDouble);
  found->second.values = found->second.values.defined() ? found->second.values.add_(sum) : sum;
  found->second.weight += weights.sum().item<double>();
}

std::map<std::string, std::vector<double>> ChannelMass::mass() const {
  std::map<std::string, std::vector<double>> all;
  for (const auto& [name, sum] : sums_) {
    if (!sum.values.defined()) continue;
    const at::Tensor mean = (sum.values / sum.weight).to(at::kCPU, at::kDouble).contiguous();
    all[name] = {mean.const_data_ptr<double>(), mean.const_data_ptr<double>() + mean.numel()};
  }
  return all;
}

}  // namespace spinor::learning
