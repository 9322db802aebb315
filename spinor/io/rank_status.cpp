#include "spinor/io/rank_status.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <random>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/io/file.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

constexpr size_t kStatusBytes = 4096;  // one page: written at once
constexpr std::array<const char*, 4> kPhases = {"writing", "done", "failed", "left"};

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

// Of a file that has no size; empty if there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Two containers may have one name and other processes.
std::string place_of_processes() {
  std::error_code ignored;
  return first_line("/proc/sys/kernel/random/boot_id") + fs::read_symlink("/proc/self/ns/pid", ignored).string();
}

std::string padded(const RankStatus& status) {
  Json json = {{"ticket", status.ticket},     {"rank", status.rank},       {"ranks", status.ranks},
               {"launched", status.launched}, {"attempt", status.attempt}, {"host", status.host},
               {"place", status.place},       {"process", status.process}, {"phase", kPhases.at(size_t(status.phase))},
               {"reason", status.reason},     {"beat", status.beat}};
  const auto text = [&] { return json.dump(-1, ' ', false, Json::error_handler_t::replace); };
  for (std::string reason = status.reason; text().size() >= kStatusBytes && !reason.empty();)
    json["reason"] = reason = reason.substr(0, reason.size() / 2);
  std::string line = text();
  line.resize(kStatusBytes - 1, ' ');
  return line + "\n";
}

std::optional<RankStatus> parsed(const fs::path& path) {
  try {
    const Json json = parse_json(read_text(path), path.string());
    RankStatus status;
    status.ticket = json.at("ticket");
    status.rank = json.at("rank");
    status.ranks = json.at("ranks");
    status.launched = json.at("launched");
    status.attempt = json.at("attempt");
    status.host = json.at("host");
    status.place = json.at("place");
    status.process = json.at("process");
    const auto phase = std::ranges::find(kPhases, json.at("phase").get<std::string>());
    if (phase == kPhases.end()) return std::nullopt;
    status.phase = static_cast<RankPhase>(phase - kPhases.begin());
    status.reason = json.at("reason");
    status.beat = json.at("beat");
    status.modified = fs::last_write_time(path);
    return status;
  } catch (const Error&) {
  } catch (const Json::exception&) {
  } catch (const fs::filesystem_error&) {
  }
  return std::nullopt;  // half written, or just deleted
}

std::optional<int64_t> ticket_in(const fs::path& name) {
  std::string_view text = name.native();
  if (!text.starts_with("rank-") || !text.ends_with(".json")) return std::nullopt;
  text.remove_prefix(5);
  text.remove_suffix(5);
  int64_t ticket = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ticket);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(ticket) : std::nullopt;
}

}  // namespace

std::string RankStatus::text() const {
  return fmt::format("rank {} of {}", rank, ranks);
}
std::string RankStatus::who() const {
  return fmt::format("process {} on {}", process, host);
}
std::optional<bool> RankStatus::runs() const {
  if (host != host_name() || place != place_of_processes()) return std::nullopt;
  const std::string stat = first_line(fmt::format("/proc/{}/stat", process));  // "123 (name) S ..."
  const size_t state = stat.rfind(')');
  return state != stat.npos && state + 2 < stat.size() && stat[state + 2] != 'Z' && stat[state + 2] != 'X';
}

RankStatus status_of(const Rank& rank) {
  return {.rank = rank.rank,
          .ranks = rank.ranks,
          .launched = rank.launched,
          .attempt = rank.attempt,
          .host = host_name(),
          .place = place_of_processes(),
          .process = ::getpid()};
}

fs::path status_file(const fs::path& directory, int64_t ticket) {
  return directory / fmt::format("rank-{:06}.json", ticket);
}
fs::path journal_file(const fs::path& directory, int64_t ticket) {
  return directory / fmt::format("journal-{:06}.jsonl", ticket);
}
bool is_of_ranks(const fs::path& name) {
  return name.native().starts_with("rank-") || name.native().starts_with("journal-") ||
         name.native().starts_with("completing");
}

bool create_once(const fs::path& path, const std::string& text) {
  static thread_local std::mt19937_64 draw{std::random_device{}()};
  const fs::path aside = path.parent_path() / fmt::format("rank-{:016x}.tmp", draw());
  File::create(aside, std::ssize(text)).write(0, std::as_bytes(std::span(text)));
  const int result = ::link(aside.c_str(), path.c_str());
  const int error_number = errno;
  ::unlink(aside.c_str());
  if (result == 0) return true;
  if (error_number == EEXIST) return false;
  throw system_error(path, "cannot be linked to, which ranks need to tell who was first", error_number);
}

void take_ticket(const fs::path& directory, RankStatus& status) {
  for (const auto& entry : fs::directory_iterator(directory))
    status.ticket = std::max(status.ticket, ticket_in(entry.path().filename()).value_or(0));
  do ++status.ticket;
  while (!create_once(status_file(directory, status.ticket), padded(status)));
}

bool write_status(const fs::path& directory, const RankStatus& status) {
  const int descriptor = ::open(status_file(directory, status.ticket).c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return false;
  const std::string text = padded(status);
  const bool written = ::pwrite(descriptor, text.data(), text.size(), 0) == std::ssize(text);
  return ::close(descriptor) == 0 && written;  // closing is what shows it to other machines
}

std::vector<RankStatus> read_statuses(const fs::path& directory) {
  std::vector<RankStatus> statuses;
  std::error_code gone;
  for (fs::directory_iterator entry(directory, gone), end; !gone && entry != end; entry.increment(gone))
    if (ticket_in(entry->path().filename()))
      if (std::optional<RankStatus> status = parsed(entry->path())) statuses.push_back(std::move(*status));
  std::ranges::sort(statuses, {}, &RankStatus::ticket);
  return statuses;
}

}  // namespace spinor
