// Calibration tells a recipe's modifiers where it is.
#pragma once

#include "spinor/calibration/calibrate.h"
#include "spinor/modifier/oneshot.h"

namespace spinor::calibration {

// Sends batch_start and batch_end for each sample that goes into a layer to be observed (global_step: which one,
// steps_per_epoch: of how many), and sequential_epoch_end when a layer is done. `run` must stay until calibration is
// over; calibration_epoch_start came before it, calibration_epoch_end is RecipeRun::finish(). What
// the options called before is called after.
void send_events(CalibrateOptions& options, RecipeRun& run);

}  // namespace spinor::calibration
