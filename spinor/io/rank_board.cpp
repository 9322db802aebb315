#include "spinor/io/rank_board.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "spinor/base/json.h"
#include "spinor/io/file.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr const char* kClaim = "completing.json";

std::vector<RankStatus> with(const fs::path& directory, const RankStatus& mine) {
  std::vector<RankStatus> statuses = read_statuses(directory);
  if (std::ranges::find(statuses, mine.ticket, &RankStatus::ticket) == statuses.end()) statuses.push_back(mine);
  return statuses;
}

// One whose attempt was followed by another is late. Of attempts without a name nobody can tell.
void require_newest(const fs::path& directory, const RankStatus& mine, bool unique) {
  const std::vector<RankStatus> statuses = read_statuses(directory);
  const auto same = [&](const RankStatus& status) { return status.same_attempt(mine); };
  if (!unique || statuses.empty() || std::ranges::none_of(statuses, same) || same(statuses.back())) return;
  throw Error(mine.text(),
              fmt::format("belongs to an attempt ({}) that a newer one has replaced ({}, {})", mine.attempt,
                          statuses.back().text(), statuses.back().who()),
              "start all ranks again if this is the one that is meant");
}

// -1: it has none that can be read.
int64_t owner_of(const fs::path& claim) {
  try {
    return parse_json(read_text(claim), claim.string()).get<int64_t>();
  } catch (const std::exception&) {
    return -1;
  }
}

}  // namespace

RankBoard::RankBoard(fs::path directory, const Rank& rank)
    : directory_(std::move(directory)), rank_(rank), mine_(status_of(rank)) {
  require_newest(directory_, mine_, rank_.unique);
  if (!rank_.launched) {
    RankStatus next = mine_;
    next.ticket = INT64_MAX;
    RankWatch before(rank_, next);
    before.look(with(directory_, next), steady_clock::now());
    if (std::optional<Error> failed = before.refusal()) throw *failed;
  }
  take_ticket(directory_, mine_);
  watch_ = std::make_unique<RankWatch>(rank_, mine_);
  look();
  thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

RankBoard::~RankBoard() {
  thread_.request_stop();
}

// Often enough to be heard well within the patience of others.
std::chrono::milliseconds RankBoard::interval() const {
  return std::clamp(rank_.patience / 20, std::chrono::milliseconds(50), std::chrono::milliseconds(5000));
}

// At first more often, so that others soon know the living from what an older attempt has left.
void RankBoard::watch(const std::stop_token& stop) {
  auto pause = std::chrono::milliseconds(50);
  for (auto due = steady_clock::now() + pause; !stop.stop_requested();
       std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
    if (steady_clock::now() < due) continue;
    pause = std::min(2 * pause, interval());
    due = steady_clock::now() + pause;
    look();
  }
}

void RankBoard::look() {
  const std::lock_guard lock(mutex_);
  ++mine_.beat;
  if (!write_status(directory_, mine_)) gone_ = true;
  watch_->look(with(directory_, mine_), steady_clock::now());
  if (stopped_ || gone_) return;
  problem_ = watch_->problem(mine_.phase == RankPhase::done);
  stopped_ = problem_.has_value();
}

void RankBoard::check() const {
  if (gone_)
    throw Error(directory_.string(), "was deleted, or is complete and another process's",
                "see whether the output is there; else start again");
  if (!stopped_) return;
  const std::lock_guard lock(mutex_);
  throw *problem_;
}

// A status that is being written is not seen: a look may miss one.
std::vector<int64_t> RankBoard::tickets() {
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(2))) {
    look();
    check();
    const std::lock_guard lock(mutex_);
    if (std::vector<int64_t> tickets = watch_->tickets(); std::ssize(tickets) == rank_.ranks) return tickets;
  }
}

void RankBoard::update(RankPhase phase, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  mine_.phase = phase;
  mine_.reason = reason;
  ++mine_.beat;
  if (!write_status(directory_, mine_)) gone_ = true;
}

void RankBoard::done() {
  update(RankPhase::done, "");
}

void RankBoard::fail(const std::string& reason) noexcept {
  if (stopped_ || gone_) return leave();
  try {
    update(RankPhase::failed, reason);
  } catch (...) {  // the reason is thrown already
  }
}

// What is done stays done.
void RankBoard::leave() noexcept {
  try {
    if (mine_.phase != RankPhase::done) update(RankPhase::left, "");
  } catch (...) {  // as above
  }
}

RankBoard::Ending RankBoard::wait(const std::function<bool(std::span<const int64_t>)>& whole) {
  auto nap = std::chrono::milliseconds(10);  // longer and longer: others are done at about the same time, or much later
  for (;; std::this_thread::sleep_for(nap)) {
    nap = std::min(nap * 3 / 2, std::min(interval(), std::chrono::milliseconds(1000)));
    look();
    try {
      if (std::optional<Ending> ending = ending_now(whole)) return *std::move(ending);
    } catch (const Error&) {
      look();  // another one may have completed the output while we read
      if (!gone_) throw;
    }
    if (gone_) return {};
  }
}

std::optional<RankBoard::Ending> RankBoard::ending_now(const std::function<bool(std::span<const int64_t>)>& whole) {
  std::vector<int> pending;
  std::vector<int64_t> settled;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return Ending{};
    if (problem_) throw *problem_;
    pending = watch_->pending();
    settled = watch_->settled();
  }
  if (rank_.launched && (!pending.empty() || rank_.rank != 0)) return std::nullopt;
  if (!whole(settled)) {
    if (!rank_.launched) return Ending{.pending = std::move(pending)};
    throw Error(directory_.string(), "all ranks are done, and not all of the output is there", "start all again");
  }
  const std::optional<bool> claimed = claim();
  if (claimed == true) return Ending{.mine = true};
  return claimed && !rank_.launched ? std::optional(Ending{}) : std::nullopt;
}

// A claim whose owner is no more is taken from it.
std::optional<bool> RankBoard::claim() {
  const fs::path path = directory_ / kClaim;
  const std::string text = Json(mine_.ticket).dump();
  if (create_once(path, text)) return true;
  const int64_t owner = owner_of(path);
  std::optional<bool> works;
  {
    const std::lock_guard lock(mutex_);
    works = watch_->works(owner);
  }
  if (works != false) return works ? std::optional(false) : std::nullopt;
  return take_from(owner) && create_once(path, text) ? std::optional(true) : std::nullopt;
}

// Only one of several can rename a claim; who renames one that is new by now gives it back.
bool RankBoard::take_from(int64_t owner) {
  const fs::path path = directory_ / kClaim, aside = directory_ / fmt::format("completing-{:06}.json", mine_.ticket);
  std::error_code lost;
  fs::rename(path, aside, lost);
  if (lost) return false;
  const int64_t taken = owner_of(aside);
  if (taken != owner) (void)create_once(path, Json(taken).dump());
  fs::remove(aside, lost);
  return taken == owner;
}

void note_failure(const fs::path& directory, const Rank& rank, const std::string& reason) noexcept {
  try {
    fs::create_directory(directory);
    RankStatus mine = status_of(rank);
    const auto said = [&](const RankStatus& status) {
      return status.same_process(mine) && status.phase != RankPhase::writing;
    };
    if (std::ranges::any_of(read_statuses(directory), said)) return;
    mine.phase = RankPhase::failed;
    mine.reason = reason;
    take_ticket(directory, mine);
  } catch (...) {  // the reason is thrown already
  }
}

}  // namespace spinor
