// A plan carried out: streamed from the source's files into OUT.partial, every tensor rounded once, one rename at the
// end.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/base/rank.h"
#include "spinor/plan/plan.h"
#include "spinor/plan/prepared.h"

namespace spinor {

struct SaveProgress {
  int64_t bytes_done = 0, bytes_total = 0;  // of the output's tensors; what an earlier run finished counts as done
};

struct SaveOptions {
  std::optional<DType> dtype = {};  // of every edited type in the output; null: as the source
  int64_t max_shard_bytes = 5'000'000'000;
  int threads = 0;                              // 0: all
  bool force = false, discard_partial = false;  // see CheckpointWriter
  Rank rank = {};                               // of several that write `out` together, each its share
  Json record = Json::object();                 // how the plan came to be (recipe, options, seed): goes to spinor.json
  std::map<std::string, std::string> texts = {};           // further files of any bytes, e.g. recipe.yaml
  std::function<void(const SaveProgress&)> progress = {};  // called from one thread at a time
  // A request to stop ends the work between two blocks with Stopped. OUT.partial stays, and a later run goes on from
  // it.
  std::stop_token stop = {};
};

// Of several ranks: what this one did.
struct SaveReport {
  int64_t bytes_written = 0, bytes_resumed = 0, tensors = 0;
  std::vector<int> pending = {};  // ranks that are not done: the output is not complete
};

// A checkpoint that is being written: OUT.partial is open.
class Saving {
 public:
  // Opens OUT.partial, or the one that an earlier run left. `plan` must stay. Errors: those of CheckpointWriter; a
  // weight that no format holds.
  Saving(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options = {});
  ~Saving();
  Saving(Saving&&) noexcept;

  // Where calibration puts what plan.needs_data() stands for, before finish(). Weights that it leaves out are rounded
  // to the nearest codes.
  PreparedTensors& prepared();
  // Computes all the rest and renames. Error if the plan needs data and prepared() was never asked for.
  SaveReport finish();
  // Of several ranks: the others hear that this one could not go on with what comes before finish().
  void fail(const std::string& reason) noexcept;

  class Writer;

 private:
  std::unique_ptr<Writer> writer_;
};

// Writes the checkpoint `plan` describes to the directory `out`. The bytes do not depend on the number of threads.
// Memory: save_memory(). Errors leave OUT.partial for a resume and nothing at `out`;
// a plan that needs data is one.
SaveReport save(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options = {});

// Error naming what the plan cannot compute without calibration data; nothing if there is no such thing.
void require_no_data(const RewritePlan& plan);

// What the output will take on disk (tensors only), and the most memory save() will use beside a few megabytes.
struct SaveSize {
  int64_t bytes = 0, memory = 0;
};
SaveSize save_size(const RewritePlan& plan, const SaveOptions& options = {});

// What each of options.rank.ranks reads and writes.
struct SaveShare {
  int64_t tensors = 0, read = 0, written = 0;  // bytes
};
std::vector<SaveShare> save_shares(const RewritePlan& plan, const SaveOptions& options);

}  // namespace spinor
