#include "spinor/io/rank_board.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <set>
#include <thread>

#include "spinor/base/parallel.h"
#include "spinor/io/testing.h"

namespace spinor::rank_board_test {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr const char* kElsewhere = "another machine";

RankStatus status(int64_t ticket, int rank, RankPhase phase) {
  RankStatus status;
  status.ticket = ticket;
  status.rank = rank;
  status.ranks = 3;
  status.launched = true;
  status.host = kElsewhere;
  status.process = 7;
  status.phase = phase;
  status.modified = std::filesystem::file_time_type::clock::now();
  return status;
}

// What rank 1 of 3 thinks, whose ticket is 2, so much time after it began.
class WatchTest : public ::testing::Test {
 protected:
  void look(std::vector<RankStatus> others, std::chrono::milliseconds after = 0ms) {
    others.push_back(status(2, 1, RankPhase::writing));
    others.back().modified = begun_;
    std::ranges::sort(others, {}, &RankStatus::ticket);
    watch_.look(std::move(others), rank_.since + after);
  }
  std::string problem(bool finishing = false) const {
    const std::optional<Error> found = watch_.problem(finishing);
    return found ? found->what() : "";
  }

  Rank rank_{.rank = 1, .ranks = 3, .launched = true};
  RankWatch watch_{rank_, status(2, 1, RankPhase::writing)};
  const std::filesystem::file_time_type begun_ = std::filesystem::file_time_type::clock::now();
};

TEST_F(WatchTest, OthersHaveTheirTime) {
  look({status(1, 0, RankPhase::writing)});
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(watch_.pending(), (std::vector<int>{0, 1, 2}));
  look({status(1, 0, RankPhase::done), status(3, 2, RankPhase::done)}, 299s);
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(watch_.pending(), std::vector<int>{1});
  EXPECT_EQ(watch_.settled(), (std::vector<int64_t>{1, 3}));
}

TEST_F(WatchTest, SilenceHasAnEnd) {
  RankStatus first = status(1, 0, RankPhase::writing);
  look({first, status(3, 2, RankPhase::writing)});
  first.beat = 5;
  look({first, status(3, 2, RankPhase::writing)}, 299s);
  EXPECT_EQ(problem(), "");
  look({first, status(3, 2, RankPhase::writing)}, 301s);
  EXPECT_EQ(problem(),
            "rank 2 of 3: has not been heard of for 301 s (process 7 on another machine); start all ranks again: they "
            "go on from here");
}

TEST_F(WatchTest, WhoDoesNotAppearIsNamed) {
  look({status(1, 0, RankPhase::writing)}, 301s);
  EXPECT_EQ(problem().substr(0, 40), "rank 2 of 3: has not appeared in 301 s; ");
}

TEST_F(WatchTest, FailuresAreNamed) {
  RankStatus failed = status(1, 0, RankPhase::failed);
  failed.reason = "no space";
  look({failed});
  EXPECT_EQ(
      problem(),
      "rank 0 of 3: failed (process 7 on another machine): no space; mend that and start all ranks again: they go "
      "on from here");
  look({failed, status(4, 0, RankPhase::writing)});  // it was started again
  EXPECT_NE(problem().find("a newer"), 0u);
}

TEST_F(WatchTest, ANewerAttemptAndTheSameRankAgainStopThis) {
  RankStatus newer = status(3, 0, RankPhase::writing);
  newer.attempt = "8";
  look({newer});
  EXPECT_NE(problem().find("a newer attempt has begun"), std::string::npos);
  look({status(3, 1, RankPhase::writing)});
  EXPECT_NE(problem().find("a newer attempt has begun"), std::string::npos);
  newer.ticket = 1;  // older, then
  look({newer});
  EXPECT_EQ(problem(), "");
}

// Of an attempt without a name.
TEST_F(WatchTest, WhatNobodyTouchesIsOfAnOlderAttempt) {
  RankStatus old = status(1, 0, RankPhase::failed);
  old.modified -= 30s;
  look({old});
  EXPECT_EQ(problem(), "");
  look({old}, 11s);  // its rank has not come again
  EXPECT_NE(problem().find("rank 0 of 3: failed"), std::string::npos);
  old.modified -= 60s;
  look({old}, 11s);
  EXPECT_EQ(problem(), "");
  RankStatus done = old;
  done.phase = RankPhase::done;
  look({done});
  EXPECT_EQ(watch_.pending(), (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(watch_.settled().empty());
  done.beat = 1;
  look({done});  // it lives
  EXPECT_EQ(watch_.pending(), (std::vector<int>{1, 2}));
  EXPECT_EQ(watch_.settled(), std::vector<int64_t>{1});
}

TEST(RankBoardTest, TicketsAreTakenOnce) {
  testing::TemporaryDirectory directory;
  std::vector<int64_t> tickets(40);
  parallel_for(40, 8, [&](int64_t i, int) {
    RankStatus mine = status(0, 1, RankPhase::writing);
    take_ticket(directory.path(), mine);
    tickets[static_cast<size_t>(i)] = mine.ticket;
  });
  EXPECT_EQ(std::set<int64_t>(tickets.begin(), tickets.end()).size(), 40u);
  EXPECT_EQ(read_statuses(directory.path()).size(), 40u);
}

TEST(RankBoardTest, AStatusIsReadAsItWasWritten) {
  testing::TemporaryDirectory directory;
  RankStatus mine = status_of({.rank = 2, .ranks = 5, .launched = true, .attempt = "a\"b"});
  EXPECT_EQ(mine.runs(), true);
  take_ticket(directory.path(), mine);
  mine.phase = RankPhase::failed;
  mine.reason = std::string(10'000, 'x') + "\xff";
  EXPECT_TRUE(write_status(directory.path(), mine));
  const RankStatus read = read_statuses(directory.path()).at(0);
  EXPECT_EQ(read.who(), mine.who());
  EXPECT_EQ(read.text(), "rank 2 of 5");
  EXPECT_TRUE(read.same_attempt(mine));
  EXPECT_EQ(read.phase, RankPhase::failed);
  EXPECT_TRUE(mine.reason.starts_with(read.reason) && read.reason.size() > 1000);
  std::filesystem::remove(status_file(directory.path(), mine.ticket));
  EXPECT_FALSE(write_status(directory.path(), mine));
  EXPECT_TRUE(read_statuses(directory.path()).empty());
}

// By hand: all are done and see all; one of them completes the output, and the directory goes while others look at it.
TEST(RankBoardTest, OneOfManyCompletes) {
  for (int round = 0; round < 5; ++round) {
    testing::TemporaryDirectory directory;
    const std::filesystem::path partial = directory / "out.partial";
    std::filesystem::create_directory(partial);
    std::deque<RankBoard> boards;
    for (int rank = 0; rank < 4; ++rank) {
      boards.emplace_back(partial, Rank{.rank = rank, .ranks = 4});
      boards.back().done();
    }
    std::atomic<int> complete = 0;
    parallel_for(4, 4, [&](int64_t rank, int) {
      const auto whole = [&](std::span<const int64_t> settled) {
        for (const int64_t ticket : settled) (void)read_text(status_file(partial, ticket));
        return true;
      };
      if (!boards[static_cast<size_t>(rank)].wait(whole).mine) return;
      ++complete;
      std::filesystem::rename(partial, directory / "aside");  // as OutputDirectory does
    });
    EXPECT_EQ(complete, 1);
  }
}

// A status that is being written cannot be read, as one that has no text yet.
TEST(RankBoardTest, TicketsAreThoseOfAllRanks) {
  testing::TemporaryDirectory directory;
  RankBoard one(directory.path(), {.rank = 0, .ranks = 2, .launched = true});
  RankStatus other = status_of({.rank = 1, .ranks = 2, .launched = true});
  take_ticket(directory.path(), other);
  const std::filesystem::path file = status_file(directory.path(), other.ticket);
  const std::string text = read_text(file);
  write_text(file, "{");
  std::jthread writer([&] {
    std::this_thread::sleep_for(50ms);
    write_text(file, text);
  });
  EXPECT_EQ(one.tickets(), (std::vector<int64_t>{one.ticket(), other.ticket}));
}

TEST(RankBoardTest, AClaimOfWhoIsNoMoreIsTaken) {
  testing::TemporaryDirectory directory;
  RankStatus dead = status_of({.rank = 0, .ranks = 2});
  dead.process = 1 << 30;
  take_ticket(directory.path(), dead);
  ASSERT_TRUE(create_once(directory / "completing.json", std::to_string(dead.ticket)));
  RankBoard board(directory.path(), {.rank = 1, .ranks = 2});
  board.done();
  EXPECT_TRUE(board.wait([](std::span<const int64_t>) { return true; }).mine);
}

}  // namespace
}  // namespace spinor::rank_board_test
