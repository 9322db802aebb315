#include "spinor/ranks/rank_group.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "spinor/base/error.h"

namespace spinor::rank_group_test {
namespace {

using std::chrono::milliseconds;

// What each rank said at its end; they are threads here, and processes in tests/ranks_calibration_test.py.
std::vector<std::string> run(int ranks, const std::function<void(RankGroup&)>& work,
                             const std::function<void(int)>& check = {}, int appear = -1,
                             milliseconds patience = milliseconds(20'000)) {
  static std::atomic<int> number = 0;
  const std::filesystem::path file = std::filesystem::temp_directory_path() /
                                     ("spinor-rank-group-" + std::to_string(getpid()) + "-" + std::to_string(number++));
  std::vector<std::string> said(static_cast<size_t>(ranks));
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < (appear < 0 ? ranks : appear); ++rank)
      threads.emplace_back([&, rank] {
        try {
          const Rank mine{.rank = rank, .ranks = ranks, .launched = true, .patience = patience};
          RankGroup group(mine, {.file = file}, "AVX2", check ? [&, rank] { check(rank); } : std::function<void()>());
          work(group);
        } catch (const std::exception& error) {
          said[static_cast<size_t>(rank)] = error.what();
        }
      });
  }
  std::filesystem::remove(file);
  return said;
}

TEST(RankGroup, AloneAsksNobody) {
  RankGroup group;
  EXPECT_TRUE(group.alone());
  group.flush();
  EXPECT_EQ(group.smallest({3, 1}), (std::vector<int64_t>{3, 1}));
}

TEST(RankGroup, MessagesArriveInTheOrderInWhichTheyWereSent) {
  const auto said = run(3, [](RankGroup& group) {
    for (int to = 0; to < 3; ++to)
      for (int64_t i = 0; i < 5 && to != group.rank(); ++i)
        group.send(to, at::full({i + 1, 100}, 10.0 * group.rank() + static_cast<double>(i), at::kFloat));
    for (int from = 0; from < 3; ++from)
      for (int64_t i = 0; i < 5 && from != group.rank(); ++i) {
        at::Tensor x = at::empty({i + 1, 100}, at::kFloat);
        group.receive(from, x);
        EXPECT_TRUE((x == 10.0 * from + static_cast<double>(i)).all().item<bool>());
      }
    group.flush();
  });
  EXPECT_EQ(said, std::vector<std::string>(3));
}

TEST(RankGroup, AllHaveTheSmallestAndTheLargest) {
  const auto said = run(3, [](RankGroup& group) {
    EXPECT_EQ(group.smallest({group.rank(), 7 - group.rank()}), (std::vector<int64_t>{0, 5}));
    EXPECT_EQ(group.largest({group.rank(), 7 - group.rank()}), (std::vector<int64_t>{2, 7}));
  });
  EXPECT_EQ(said, std::vector<std::string>(3));
}

TEST(RankGroup, ARankThatDoesNotAppearIsNamed) {
  const auto said = run(2, [](RankGroup&) {}, {}, 1, milliseconds(300));
  EXPECT_NE(said[0].find("rank 1 of 2: has not appeared in 0.3 s"), std::string::npos) << said[0];
}

TEST(RankGroup, ARankThatIsGoneIsNamed) {
  const auto said = run(2, [](RankGroup& group) {
    if (group.rank() == 1) throw Error("disk", "is full");
    at::Tensor x = at::empty({4}, at::kFloat);
    group.receive(1, x);
  });
  EXPECT_NE(said[0].find("rank 1 of 2: has ended its connection"), std::string::npos) << said[0];
  EXPECT_NE(said[1].find("is full"), std::string::npos);
}

TEST(RankGroup, WhatIsKnownOfAnotherRankEndsAWaitForIt) {
  std::atomic<bool> known = false;
  const auto said = run(
      2,
      [&](RankGroup& group) {
        if (group.rank() == 1) {
          std::this_thread::sleep_for(milliseconds(100));
          known = true;
          while (known) std::this_thread::sleep_for(milliseconds(10));
          return;
        }
        at::Tensor x = at::empty({4}, at::kFloat);
        try {
          group.receive(1, x);
        } catch (...) {
          known = false;
          throw;
        }
      },
      [&](int rank) {
        if (rank == 0 && known) throw Error("rank 1", "has not been heard of");
      });
  EXPECT_NE(said[0].find("has not been heard of"), std::string::npos) << said[0];
}

}  // namespace
}  // namespace spinor::rank_group_test
