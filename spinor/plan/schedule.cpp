#include "spinor/plan/schedule.h"

#include <algorithm>
#include <map>

namespace spinor {

Schedule::Schedule(std::span<const ScheduledTensor> tensors) : group_of_(tensors.size()) {
  std::map<std::string, size_t> fused;
  int most = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const ScheduledTensor& tensor = tensors[t];
    const size_t next = groups_.size();
    const size_t g = tensor.fused.empty() ? next : fused.try_emplace(tensor.fused, next).first->second;
    if (g == next) groups_.emplace_back();
    Group& group = groups_[g];
    group_of_[t] = g;
    group.tensors.push_back(t);
    group.passes = std::max(group.passes, tensor.passes);
    group.left.resize(static_cast<size_t>(group.passes));
    for (int pass = 0; pass < tensor.passes; ++pass) group.left[static_cast<size_t>(pass)] += tensor.blocks;
    most = std::max(most, group.passes);
  }
  // In time slot s group g takes its pass s - g: while one group writes, the next observes.
  for (size_t slot = 0; slot < groups_.size() + static_cast<size_t>(most); ++slot) {
    for (int pass = std::min(most, static_cast<int>(slot)); pass >= 0; --pass) {
      const size_t g = slot - static_cast<size_t>(pass);
      if (g >= groups_.size() || pass > groups_[g].passes) continue;
      for (const size_t t : groups_[g].tensors) {
        const bool writes = pass == groups_[g].passes;
        if (writes ? !tensors[t].written : pass >= tensors[t].passes) continue;
        for (int64_t block = 0; block < tensors[t].blocks; ++block) steps_.push_back({t, pass, block, writes});
      }
    }
  }
}

bool Schedule::wait(const Step& step) {
  std::unique_lock lock(mutex_);
  const Group& group = groups_[group_of_[step.tensor]];
  changed_.wait(lock, [&] { return failed_ || group.finished >= step.pass; });
  return !failed_;
}

void Schedule::done(const Step& step, const std::function<void(std::span<const size_t>, int)>& end_pass) {
  if (step.writes) return;
  Group& group = groups_[group_of_[step.tensor]];
  {
    const std::lock_guard lock(mutex_);
    if (--group.left[static_cast<size_t>(step.pass)] > 0) return;
  }
  end_pass(group.tensors, step.pass);
  const std::lock_guard lock(mutex_);
  group.finished = step.pass + 1;
  changed_.notify_all();
}

void Schedule::fail() {
  const std::lock_guard lock(mutex_);
  failed_ = true;
  changed_.notify_all();
}

}  // namespace spinor
