// Calibration tells a recipe's modifiers where it is.
#pragma once

#include "spinor/calibration/calibrate.h"
#include "spinor/modifier/oneshot.h"

namespace spinor::calibration {

// Sends batch_start and batch_end for each sample that goes into a layer to be observed, and layer_end when a layer is
// done. `run` must stay until calibration is over; the end itself is RecipeRun::finish(). What the options called
// before is called after.
void send_events(CalibrateOptions& options, RecipeRun& run);

}  // namespace spinor::calibration
