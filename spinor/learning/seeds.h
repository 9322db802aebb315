// Best of several seeds: the random start whose rows are easiest to quantize before anything is learned.
#pragma once

#include "spinor/learning/capture_on_demand.h"
#include "spinor/learning/learning_run.h"

namespace spinor::learning {

// Before any work: errors where several seeds make no sense, as R1 is not drawn.
void check_seeds(const LearningRun& run);
// Tries the request's seeds on rows of the residual stream; with more than one, the best becomes that of its start, and
// the record says which losses they had.
void choose_seed(LearningRun& run, CaptureOnDemand& capture);

}  // namespace spinor::learning
