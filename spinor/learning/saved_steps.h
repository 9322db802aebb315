// The state of learning in a work directory, so that a run which was killed goes on from there.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spinor/learning/cayley.h"
#include "spinor/learning/work_directory.h"

namespace spinor::learning {

// Between two steps. What is drawn at random in each depends on the seed and the number of steps taken.
struct LearningState {
  std::map<std::string, CayleyState> optimizers;  // by what they learn: "R1", "R2.0"
  std::vector<double> losses;                     // of the steps taken
};

class SavedSteps {
 public:
  // Without a directory nothing is kept.
  SavedSteps(WorkDirectory* directory, std::string name);

  std::optional<LearningState> find() const;
  // After a step: keeps it if that takes a twentieth of the time since the last one was kept at most, as far as that is
  // known, or if it has to be kept now.
  void offer(const LearningState& state, bool now);
  void drop();  // all steps are taken, and what they gave is kept

 private:
  using Clock = std::chrono::steady_clock;

  WorkDirectory* directory_;
  std::string name_;
  Clock::time_point next_ = Clock::time_point::min();
};

}  // namespace spinor::learning
