#include "spinor/io/output_journals.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "spinor/base/error.h"
#include "spinor/io/rank_status.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> journals_in(const fs::path& partial) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(partial)) {
    const fs::path name = entry.path().filename();
    if (name.native().starts_with("journal") && name.extension() == ".jsonl") paths.push_back(entry.path());
  }
  return paths;
}

// Only a directory in which no job has begun is taken for ours.
bool has_something_else(const fs::path& partial) {
  return std::ranges::any_of(fs::directory_iterator(partial), [](const fs::directory_entry& entry) {
    const fs::path name = entry.path().filename();
    return !is_of_ranks(name) && name != "journal.jsonl.tmp";
  });
}

}  // namespace

fs::path journal_file(const fs::path& partial) {
  return partial / "journal.jsonl";
}

OutputJournals::OutputJournals(const fs::path& partial, const Json& job, int64_t ticket)
    : partial_(partial), job_(job), ranks_(ticket > 0) {
  std::vector<fs::path> found = journals_in(partial);
  if (found.empty() && has_something_else(partial)) {
    found = journals_in(partial);  // another rank may have begun in between
    if (found.empty())
      throw Error(partial.string(), "has no journal: it was not left by an interrupted run",
                  "delete it, or pass --discard-partial to start again");
  }
  const fs::path own = ticket > 0 ? journal_file(partial, ticket) : journal_file(partial);
  for (const fs::path& path : found) {
    JournalLines lines = read(path);
    if (path == own) own_.emplace(path, lines);
    std::ranges::move(lines.finished, std::back_inserter(earlier_));
  }
  if (!own_) own_.emplace(own, job_);
  // Two that begin at once see each other here.
  if (ranks_)
    for (const fs::path& path : journals_in(partial)) (void)read(path);
}

JournalLines OutputJournals::read(const fs::path& path) const {
  JournalLines lines = read_journal(path);
  std::vector<std::string> found = differences(lines.job, job_);
  if (found.empty()) return lines;
  constexpr size_t kShown = 6;
  if (found.size() > kShown) {
    const size_t more = found.size() - kShown;
    found.resize(kShown);
    found.push_back(fmt::format("{} more", more));
  }
  throw Error(partial_.string(), fmt::format("was left by another job: {}", fmt::join(found, "; ")),
              ranks_ ? "give all ranks the same model, options and program; or delete it to start again"
                     : "delete it, or pass --discard-partial to start again");
}

std::vector<FinishedTensor> OutputJournals::finished_by(int64_t ticket) const {
  return read(journal_file(partial_, ticket)).finished;
}

}  // namespace spinor
