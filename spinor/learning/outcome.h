// What learning one rotation came to, kept for a run that goes on.
#pragma once

#include <optional>
#include <string>

#include "spinor/learning/capture.h"
#include "spinor/learning/learning_run.h"

namespace spinor::learning {

struct Outcome {
  double loss_at_start = 0, loss = 0;  // of the rows to judge by
  Matrix<double> rotation;             // only if the loss fell

  bool helps() const { return loss < loss_at_start; }
};

// That of an earlier run, by the subject of learn_outcome()'s options. Nothing: it has not come so far.
std::optional<Outcome> find_outcome(const LearningRun& run, const std::string& subject);
// Learns from rows, or goes on where an earlier run was killed, and judges by others.
Outcome learn_outcome(const LearningRun& run, const RowSet& rows, const RowSet& judged, const Matrix<double>& start,
                      const LearnOptions& options);

}  // namespace spinor::learning
