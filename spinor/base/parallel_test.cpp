#include "spinor/base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "spinor/base/error.h"

namespace spinor::parallel_test {
namespace {

class EveryThreadCount : public testing::TestWithParam<int> {};

TEST_P(EveryThreadCount, EachItemIsDoneOnceByAThreadInRange) {
  const int threads = GetParam() > 0 ? GetParam() : default_threads();
  std::vector<std::atomic<int>> done(1000);
  parallel_for(1000, GetParam(), [&](int64_t item, int thread) {
    ++done[static_cast<size_t>(item)];
    EXPECT_GE(thread, 0);
    EXPECT_LT(thread, threads);
  });
  for (const std::atomic<int>& times : done) EXPECT_EQ(times, 1);
}

TEST_P(EveryThreadCount, TheFirstErrorStopsTheRestAndArrivesAtTheCaller) {
  std::atomic<int64_t> last = -1;
  try {
    parallel_for(1'000'000, GetParam(), [&](int64_t item, int) {
      last = std::max(last.load(), item);
      if (item == 10) throw Error("item 10", "failed");
      std::this_thread::sleep_for(std::chrono::microseconds(10));  // a million of these outlast any delay of item 10
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.subject(), "item 10");
  }
  EXPECT_LT(last, 999'999);
}

TEST_P(EveryThreadCount, NoItemsNoWork) {
  parallel_for(0, GetParam(), [](int64_t, int) { FAIL(); });
}

INSTANTIATE_TEST_SUITE_P(Parallel, EveryThreadCount, testing::Values(0, 1, 2, 7), testing::PrintToStringParamName());

TEST(Parallel, OneThreadIsTheCallersAndGoesInOrder) {
  int64_t next = 0;
  parallel_for(100, 1, [&, caller = std::this_thread::get_id()](int64_t item, int) {
    EXPECT_EQ(item, next++);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
  EXPECT_EQ(next, 100);
}

TEST(Parallel, ThreadsWorkAtTheSameTime) {
  std::atomic<int> here = 0;
  parallel_for(3, 3, [&](int64_t, int) {
    ++here;
    while (here < 3) std::this_thread::yield();  // ends only if all three items run at once
  });
  EXPECT_EQ(here, 3);
}

TEST(Parallel, AtLeastOneThreadIsTheDefault) {
  EXPECT_GE(default_threads(), 1);
}

}  // namespace
}  // namespace spinor::parallel_test
