// A plan carried out where the model is: in memory, every tensor rounded once, without a copy of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/memory_tensor.h"
#include "spinor/plan/plan.h"
#include "spinor/plan/save.h"

namespace spinor {

struct InPlaceOptions {
  int threads = 0;  // 0: all
  // Where tensors go that the source does not have, by name: the head that is no longer tied.
  std::map<std::string, MemoryTensor> added = {};
  std::function<void(const SaveProgress&)> progress = {};  // called from one thread at a time
  std::stop_token stop = {};                               // ends the work between two blocks
};

// The work ended halfway: what is in memory is neither the source nor the output.
class PartlyRewritten : public Error {
 public:
  PartlyRewritten(const std::string& why, std::vector<std::string> rewritten, std::vector<std::string> damaged);

  const std::vector<std::string>& rewritten() const noexcept { return rewritten_; }  // as they would be at the end
  const std::vector<std::string>& damaged() const noexcept { return damaged_; }      // some of their blocks are

 private:
  std::vector<std::string> rewritten_, damaged_;
};

// Edits the tensors of a source in memory (Checkpoint::of_memory) where they lie; those without edits are not touched.
// The bytes are those that save() would write. Memory: that of save(), see save_size(), and the norms. Errors before
// anything is written: those of tensor_cut(); a plan that quantizes, a source in files, a tensor without a place, a
// value that is not finite. Later: PartlyRewritten, for a value that the tensor's type cannot hold, or a request to
// stop.
void rewrite_in_place(const RewritePlan& plan, const InPlaceOptions& options = {});

}  // namespace spinor
