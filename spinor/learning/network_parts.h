// The rotations that are learned from the whole network: R1 and R2 of every layer together.
#pragma once

#include <utility>

#include "spinor/calibration/samples.h"
#include "spinor/learning/learning_run.h"
#include "spinor/learning/rotation_parts.h"

namespace spinor::learning {

// Before any work: errors for a network in which nothing is quantized that the rotations act on, and for v.
void check_network(const LearningRun& run);
// R1 and R2, each as far as the run learns it. `r1`: where R1 starts, or nothing, if as drawn. Of what was drawn, the
// start and what was learned from there, that which has the least loss on the samples to judge by; a warning where it
// is not the last. The record gets all three.
std::pair<RotationPart, RotationPart> learn_from_network(LearningRun& run, RotationPart r1,
                                                         const calibration::Samples& samples);

}  // namespace spinor::learning
