// The rotations that are learned from rows: R1 from those of the residual stream, R2 of each layer from its values.
#pragma once

#include "spinor/learning/capture_on_demand.h"
#include "spinor/learning/learning_run.h"

namespace spinor::learning {

// By their names in a file: "R1", or "R2.0", ...
using RotationPart = std::map<std::string, Matrix<double>>;

// What was learned if the objective of the rows to judge by falls, too; else nothing, and a warning. The record gets
// both losses.
RotationPart learn_r1(LearningRun& run, CaptureOnDemand& capture);
// One for every layer that has values: as drawn where learning did not help. Nothing if it helped in no layer.
RotationPart learn_r2(LearningRun& run, CaptureOnDemand& capture);

}  // namespace spinor::learning
