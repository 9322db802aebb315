// Which share of the work this process has, of several that a launcher or the user started.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "spinor/base/rank.h"

namespace spinor::cli {

// shares: each by itself, at any time. waits: so, but launched ones wait for each other at the end. together: all the
// time.
enum class RankWork { shares, waits, together };

struct RankOptions {
  int rank = -1, ranks = 0;  // as given; else the launcher's
  double patience = 300;     // seconds

  // `what` they do: "write OUT".
  void add_to(CLI::App& app, const std::string& what, RankWork work);
  // Errors: a rank without the number of ranks, or one that is not among them.
  Rank make() const;
};

// Where ranks meet that work together, all at the same time: where MASTER_ADDR and MASTER_PORT say, as for
// torch.distributed; else in a file of this directory, where a launcher names this start of all ranks. Error, about
// `option`, which needs it, if neither is known.
RankMeeting meeting_of(const Rank& rank, const std::filesystem::path& directory, const std::string& option);

// torchrun's, Open MPI's, MPICH's and Slurm's variables, in this order; alone if there are none of one of them, or one
// rank.
Rank launched_rank();

}  // namespace spinor::cli
