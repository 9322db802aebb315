#include "cli/ranks.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/digest.h"

namespace spinor::cli {
namespace {

struct Launcher {
  const char *rank, *ranks;
  std::vector<const char*> attempt;  // variables that name a start of all ranks; any may be absent
  const char* unique;                // the one without which two starts can have the same name
};

// Inner ones first: srun may start torchrun. A batch script of Slurm has SLURM_PROCID, but no step.
const std::vector<Launcher> kLaunchers = {
    {"RANK", "WORLD_SIZE", {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"}, "TORCHELASTIC_RUN_ID"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", {"PMIX_NAMESPACE"}, "PMIX_NAMESPACE"},
    {"PMI_RANK", "PMI_SIZE", {}, nullptr},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", {"SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"}, "SLURM_JOB_ID"},
};

std::string variable(const char* name) {
  const char* value = name ? std::getenv(name) : nullptr;
  return value ? value : "";
}

std::optional<int> number(const char* name) {
  const std::string text = variable(name);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::string joined_variables(const std::vector<const char*>& names) {
  std::string joined;
  for (const char* name : names) joined += (joined.empty() ? "" : ".") + variable(name);
  return joined;
}

}  // namespace

Rank launched_rank() {
  for (const Launcher& launcher : kLaunchers) {
    const std::optional<int> rank = number(launcher.rank), ranks = number(launcher.ranks);
    if (!rank || !ranks) continue;
    if (*rank >= *ranks)
      throw Error(launcher.rank, fmt::format("is {}, and {} is {}", *rank, launcher.ranks, *ranks),
                  "ranks count from 0; to run alone, give --ranks 1");
    if (*ranks == 1) return {};
    const std::string id = variable(launcher.unique);
    // torchrun's id without a rendezvous.
    const bool unique = !id.empty() && id != "none";
    return {.rank = *rank,
            .ranks = *ranks,
            .launched = true,
            .attempt = joined_variables(launcher.attempt),
            .unique = unique};
  }
  return {};
}

RankMeeting meeting_of(const Rank& rank, const std::filesystem::path& directory, const std::string& option) {
  const std::string host = variable("MASTER_ADDR");
  if (!host.empty()) {
    const std::optional<int> port = number("MASTER_PORT");
    if (!port || *port == 0 || *port > 65535)
      throw Error("MASTER_PORT", "is not a port, and MASTER_ADDR is set", "set it to one that is free there, for all");
    return {.host = host,
            .port = static_cast<uint16_t>(*port),
            .served = variable("TORCHELASTIC_USE_AGENT_STORE") == "True"};
  }
  if (!rank.launched || !rank.unique || directory.empty())
    throw Error(option, "takes ranks that work together, and nothing says where they meet",
                "start them with torchrun; or set MASTER_ADDR to the host of rank 0 and MASTER_PORT to a free port of "
                "it, the same for all, and start all at the same time; to run alone, give --ranks 1");
  return {.file = directory / ("rank-meeting-" + digest(std::as_bytes(std::span(rank.attempt))))};
}

void RankOptions::add_to(CLI::App& app, const std::string& what, RankWork work) {
  const auto option = [](CLI::Option* one) { return one->group("Several processes"); };
  option(app.add_option("--rank", rank, "This process's share: 0 to RANKS-1; default as torchrun, srun or mpirun say"))
      ->check(CLI::Range(0, 65535));
  option(app.add_option("--ranks", ranks,
                        fmt::format("How many processes {} together, at one time{}; 1: alone", what,
                                    work == RankWork::together ? "" : " or one after the other")))
      ->check(CLI::Range(1, 65536));
  if (work == RankWork::shares) return;
  option(app.add_option("--rank-timeout", patience,
                        "Seconds after which a launched rank that is not heard of is an error"))
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

Rank RankOptions::make() const {
  if (rank >= 0 && ranks == 0) throw Error("--rank", "needs the number of ranks", "give --ranks N, too");
  if (rank >= ranks && ranks > 0)
    throw Error("--rank", fmt::format("{} is not among {} ranks, which count from 0", rank, ranks));
  if (ranks > 1 && rank < 0) throw Error("--ranks", "needs the rank of this process", "give --rank 0, 1, ..., too");
  Rank made = ranks > 0 ? Rank{} : launched_rank();
  if (ranks > 1) {
    made.rank = rank;
    made.ranks = ranks;
    // Jobs of an array: those that are started again with it are another attempt.
    made.attempt = joined_variables({"SLURM_ARRAY_JOB_ID"});
    made.unique = !made.attempt.empty();
  }
  made.patience = std::chrono::milliseconds(static_cast<int64_t>(patience * 1000));
  return made;
}

}  // namespace spinor::cli
