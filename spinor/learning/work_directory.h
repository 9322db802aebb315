// FILE.partial, beside the file that a run of learning writes: what a later run of the same job needs to go on where
// this one was killed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "spinor/base/json.h"
#include "spinor/base/view.h"
#include "spinor/io/directory_lock.h"

namespace spinor::learning {

// Something that a run has found.
struct Snapshot {
  std::map<std::string, at::Tensor> tensors = {};  // float32 or float64; read ones are on the CPU
  Json json = {};                                  // whose numbers are finite
};

class WorkDirectory {
 public:
  // Creates or opens FILE.partial, and locks it: Error if another run has it. What a run of another job left there is
  // deleted. `job` is all that the result depends on. Error for a directory that no such run has made.
  WorkDirectory(const std::filesystem::path& file, const Json& job);
  // Gives the lock back. A directory without snapshots is deleted.
  ~WorkDirectory();

  std::filesystem::path path(const std::string& name) const { return lock_.path() / name; }
  // Each is a file, which is there as a whole or not at all.
  std::optional<Snapshot> find(const std::string& name) const;
  void save(const std::string& name, const Snapshot& snapshot);
  void drop(const std::string& name);
  // Deletes all that is in it: what the run was for is done. It stays locked.
  void clear();

 private:
  void begin();
  bool empty() const;

  std::string digest_;  // of the job
  DirectoryLock lock_;
};

// The number that work() gives, or gave in an earlier run. Without a directory nothing is kept.
double once(WorkDirectory* directory, const std::string& name, const std::function<double()>& work);

}  // namespace spinor::learning
