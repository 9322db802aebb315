#include "spinor/plan/schedule.h"

#include <gtest/gtest.h>

#include <set>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"

namespace spinor::schedule_test {
namespace {

std::vector<ScheduledTensor> example() {
  return {{.passes = 0, .blocks = 3},
          {.passes = 1, .blocks = 2, .fused = "qkv"},
          {.passes = 2, .blocks = 4, .block_elements = 9},
          {.passes = 1, .blocks = 1, .fused = "qkv", .written = false},
          {.passes = 0, .blocks = 0},
          {.passes = 3, .blocks = 2}};
}

TEST(Schedule, TakesEveryPassOfEveryBlockOnce) {
  const std::vector<ScheduledTensor> tensors = example();
  const Schedule schedule(tensors);
  std::set<std::tuple<size_t, int, int64_t>> seen;
  size_t expected = 0;
  for (const ScheduledTensor& t : tensors) expected += static_cast<size_t>((t.passes + t.written) * t.blocks);
  for (const Schedule::Step& step : schedule.steps()) {
    EXPECT_TRUE(seen.emplace(step.tensor, step.pass, step.block).second);
    EXPECT_EQ(step.writes, step.pass == tensors[step.tensor].passes);
    EXPECT_TRUE(tensors[step.tensor].written || !step.writes);
  }
  EXPECT_EQ(seen.size(), expected);
}

TEST(Schedule, APassBeginsWhenThePassBeforeItHasEndedForAllThatAreFused) {
  for (const int threads : {1, 2, 7}) {
    const std::vector<ScheduledTensor> tensors = example();
    Schedule schedule(tensors);
    std::vector<int> ended(tensors.size());
    std::mutex mutex;
    parallel_for(std::ssize(schedule.steps()), threads, [&](int64_t i, int) {
      const Schedule::Step& step = schedule.steps()[static_cast<size_t>(i)];
      ASSERT_TRUE(schedule.wait(step));
      {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(ended[step.tensor], step.pass);
      }
      schedule.done(step, [&](std::span<const size_t> group, int pass) {
        const std::lock_guard lock(mutex);
        for (const size_t t : group) {
          EXPECT_EQ(ended[t], pass);
          ended[t] = pass + 1;
        }
      });
    });
  }
}

TEST(Schedule, AFailureWakesThoseThatWait) {
  const std::vector<ScheduledTensor> tensors = {{.passes = 1, .blocks = 8}};
  Schedule schedule(tensors);
  EXPECT_THROW(parallel_for(std::ssize(schedule.steps()), 4,
                            [&](int64_t i, int) {
                              const Schedule::Step& step = schedule.steps()[static_cast<size_t>(i)];
                              if (!schedule.wait(step)) return;
                              if (step.block == 3) {
                                schedule.fail();
                                throw Error("block 3", "failed");
                              }
                              schedule.done(step, [](std::span<const size_t>, int) {});
                            }),
               Error);
}

}  // namespace
}  // namespace spinor::schedule_test
