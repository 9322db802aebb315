// QuIP's v, learned for each set of linears that read the same, from what they read.
#pragma once

#include "spinor/learning/learning_run.h"
#include "spinor/learning/rotation_parts.h"

namespace spinor::learning {

// The request learns v: error for an objective of the whole network, and for one whose quantizer does not fit what
// some linear reads.
void check_inputs(const LearningRun& run);

// By their names in a file, "v.model.layers.0.self_attn.q_proj": one for every set of the layers, as drawn where
// learning did not help; nothing if it helped nowhere. The record gets the means of both losses. `unrotated`: the
// model as v finds it. Memory: that of for_input_rows(), and that of learn_rotation().
RotationPart learn_inputs(LearningRun& run, const RewritePlan& unrotated, const calibration::Samples& samples,
                          int64_t samples_to_learn);

// What of v the run has not learned, or not kept.
void add_input_starts(LearningRun& run);

}  // namespace spinor::learning
