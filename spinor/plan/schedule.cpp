#include "spinor/plan/schedule.h"

#include <algorithm>
#include <deque>
#include <map>

namespace spinor {

Schedule::Schedule(std::span<const ScheduledTensor> tensors) : group_of_(tensors.size()) {
  std::map<std::string, size_t> fused;
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
  }
  order(tensors);
}

// Groups in their order. The next pass of one follows when there is enough other work between for the threads that are
// done before the last block of its pass is.
void Schedule::order(std::span<const ScheduledTensor> tensors) {
  struct Due {
    size_t group;
    int pass;
    int64_t work;  // elements before it
  };
  std::deque<Due> waiting;
  int64_t work = 0;
  const auto emit = [&](size_t g, int pass) {
    int64_t largest = 0;
    for (const size_t t : groups_[g].tensors) {
      const ScheduledTensor& tensor = tensors[t];
      const bool writes = pass == groups_[g].passes;
      if (writes ? !tensor.written : pass >= tensor.passes) continue;
      for (int64_t block = 0; block < tensor.blocks; ++block) steps_.push_back({t, pass, block, writes});
      work += tensor.blocks * tensor.block_elements;
      largest = std::max(largest, tensor.block_elements);
    }
    if (pass < groups_[g].passes) waiting.push_back({g, pass + 1, work + 2 * largest});
  };
  const auto emit_waiting = [&](auto due) {
    while (!waiting.empty() && due(waiting.front())) {
      const Due next = waiting.front();
      waiting.pop_front();
      emit(next.group, next.pass);
    }
  };
  for (size_t g = 0; g < groups_.size(); ++g) {
    emit(g, 0);
    emit_waiting([&](const Due& next) { return next.work <= work; });
  }
  emit_waiting([](const Due&) { return true; });
}

bool Schedule::wait(const Step& step) {
  const std::atomic<int>& finished = groups_[group_of_[step.tensor]].finished;
  for (int passes; (passes = finished) < step.pass && !failed_;) finished.wait(passes);
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
  ++group.finished;
  group.finished.notify_all();
}

void Schedule::fail() {
  failed_ = true;
  for (Group& group : groups_) {
    ++group.finished;  // who has read the count before it will not sleep on it
    group.finished.notify_all();
  }
}

}  // namespace spinor
