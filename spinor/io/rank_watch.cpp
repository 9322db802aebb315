#include "spinor/io/rank_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

namespace spinor {
namespace {

double seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

Error failure(const RankStatus& status) {
  const std::string again =
      status.launched ? "all ranks again: they go on from here" : "it again: it goes on from here";
  return Error(status.text(), fmt::format("failed ({}): {}", status.who(), status.reason),
               fmt::format("mend that and start {}", again));
}

}  // namespace

RankWatch::RankWatch(const Rank& rank, RankStatus mine) : rank_(rank), mine_(std::move(mine)) {}

void RankWatch::look(std::vector<RankStatus> statuses, std::chrono::steady_clock::time_point now) {
  statuses_ = std::move(statuses);
  now_ = now;
  for (const RankStatus& status : statuses_) {
    if (status.ticket == mine_.ticket && begun_ == std::filesystem::file_time_type()) {
      const auto before = std::chrono::duration_cast<std::filesystem::file_time_type::duration>(now - rank_.since);
      begun_ = status.modified - before;
    }
    const auto [found, first] = heard_.try_emplace(status.ticket, Heard{status.beat, now});
    Heard& heard = found->second;
    if (!first && heard.beat != status.beat) heard = {status.beat, now, true};
    heard.alive = heard.alive || status.runs() == true;
  }
}

// Launchers that name their attempts all alike leave tickets of older ones that look like ours: those that nobody has
// touched since we began. But a rank of ours may have failed before we began: a note that is not old is one of those if
// its rank does not appear anew.
bool RankWatch::counts(const RankStatus& status) const {
  if (!status.same_attempt(mine_)) return false;
  if (!rank_.launched || rank_.unique || status.ticket == mine_.ticket) return true;
  const auto heard = heard_.find(status.ticket);
  if ((heard != heard_.end() && heard->second.alive) || status.modified >= begun_) return true;
  constexpr std::chrono::milliseconds kOld{60'000}, kGrace{10'000};
  return status.phase == RankPhase::failed && status.modified >= begun_ - kOld &&
         now_ - rank_.since >= std::min(kGrace, rank_.patience);
}

std::optional<RankStatus> RankWatch::latest(int rank) const {
  for (const RankStatus& status : std::views::reverse(statuses_))
    if (status.rank == rank && counts(status)) return status;
  return std::nullopt;
}

bool RankWatch::superseded() const {
  return std::ranges::any_of(statuses_, [&](const RankStatus& status) {
    return status.ticket > mine_.ticket && (!status.same_attempt(mine_) || status.rank == mine_.rank);
  });
}

std::optional<Error> RankWatch::problem(bool finishing) const {
  if (superseded()) {
    const RankStatus& newest = statuses_.back();
    return Error(mine_.text(), fmt::format("a newer attempt has begun ({}, {})", newest.text(), newest.who()),
                 "this one stops; what it has finished is not lost");
  }
  for (int rank = 0; rank < rank_.ranks; ++rank)
    if (rank != rank_.rank)
      if (std::optional<Error> found = problem_of(rank, finishing)) return found;
  return std::nullopt;
}

std::optional<Error> RankWatch::problem_of(int rank, bool finishing) const {
  const std::optional<RankStatus> status = latest(rank);
  const std::string name = fmt::format("rank {} of {}", rank, rank_.ranks);
  const std::string again = "start all ranks again: they go on from here";
  if (!status) {
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now_ - rank_.since);
    if (!rank_.launched || waited < rank_.patience) return std::nullopt;
    return Error(name, fmt::format("has not appeared in {:.0f} s", seconds(waited)),
                 "see whether it was started, and sees the same OUT; to run alone, give --ranks 1");
  }
  if (status->phase == RankPhase::failed && (rank_.launched || finishing)) return failure(*status);
  if (!rank_.launched || status->phase == RankPhase::failed || status->phase == RankPhase::left) return std::nullopt;
  if (status->runs() == false)
    return Error(name, fmt::format("died ({}): it was killed, perhaps for want of memory", status->who()), again);
  const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(now_ - heard_.at(status->ticket).changed);
  if (silence < rank_.patience) return std::nullopt;
  return Error(name, fmt::format("has not been heard of for {:.0f} s ({})", seconds(silence), status->who()), again);
}

std::optional<Error> RankWatch::refusal() const {
  const bool again = std::ranges::any_of(statuses_, [&](const RankStatus& status) {
    return status.ticket < mine_.ticket && status.same_attempt(mine_) && status.rank == mine_.rank;
  });
  if (again) return std::nullopt;
  for (int rank = 0; rank < rank_.ranks; ++rank)
    if (const std::optional<RankStatus> status = latest(rank); status && status->phase == RankPhase::failed)
      return failure(*status);
  return std::nullopt;
}

std::vector<int64_t> RankWatch::tickets() const {
  std::vector<int64_t> tickets;
  for (int rank = 0; rank < rank_.ranks; ++rank)
    if (const std::optional<RankStatus> status = latest(rank)) tickets.push_back(status->ticket);
  return tickets;
}

std::vector<int> RankWatch::pending() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < rank_.ranks; ++rank)
    if (const std::optional<RankStatus> status = latest(rank); !status || status->phase != RankPhase::done)
      ranks.push_back(rank);
  return ranks;
}

std::vector<int64_t> RankWatch::settled() const {
  std::vector<int64_t> tickets;
  for (const RankStatus& status : statuses_)
    if (status.phase == RankPhase::done && (!rank_.launched || counts(status))) tickets.push_back(status.ticket);
  return tickets;
}

std::optional<bool> RankWatch::works(int64_t ticket) const {
  const auto status = std::ranges::find(statuses_, ticket, &RankStatus::ticket);
  if (status == statuses_.end() || status->phase == RankPhase::failed || status->runs() == false) return false;
  const Heard& heard = heard_.at(ticket);
  if (now_ - heard.changed >= rank_.patience) return false;
  return heard.alive ? std::optional(true) : std::nullopt;
}

}  // namespace spinor
