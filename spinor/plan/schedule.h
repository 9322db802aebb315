// In which order the blocks of all tensors are observed and written, and who waits for whom.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace spinor {

struct ScheduledTensor {
  int passes = 0;  // over all blocks, before any of them can be written
  int64_t blocks = 0, block_elements = 1;
  std::string fused = {};  // tensors with the same name here observe together; empty: alone
  bool written = true;     // false: only observed, because a fused one needs it
};

// Every pass over a tensor waits for the pass before it, of all tensors that are fused with it. Steps are to be taken
// in order by any number of threads: a step waits only for earlier ones, so somebody always goes on. The passes of
// different tensors overlap, so that threads seldom wait.
class Schedule {
 public:
  struct Step {
    size_t tensor;
    int pass;
    int64_t block;
    bool writes;  // the last pass
  };

  explicit Schedule(std::span<const ScheduledTensor> tensors);

  const std::vector<Step>& steps() const { return steps_; }
  // Returns when the step may be taken; false: another step has failed, leave it.
  bool wait(const Step& step);
  // The step was taken. When it ends an observing pass, calls end_pass(tensors, pass) before anybody goes on.
  void done(const Step& step, const std::function<void(std::span<const size_t>, int)>& end_pass);
  void fail();  // wakes all that wait

 private:
  // Tensors that observe together.
  struct Group {
    std::vector<size_t> tensors;
    int passes = 0;                 // observing ones
    std::vector<int64_t> left;      // by observing pass: blocks that are not done; guarded by mutex_
    std::atomic<int> finished = 0;  // passes; means nothing any more once failed_ is set
  };

  void order(std::span<const ScheduledTensor> tensors);

  std::deque<Group> groups_;  // which never moves them: threads wait for a group at its address
  std::vector<size_t> group_of_;
  std::vector<Step> steps_;
  std::mutex mutex_;
  // No condition variable: GCC 12 and later call a wait() of it that the libstdc++ of RHEL 9 has not
  // (tests/old_systems_test.py).
  std::atomic<bool> failed_ = false;
};

}  // namespace spinor
