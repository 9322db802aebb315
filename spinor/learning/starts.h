// What learning begins from: the matrices that the request's own types draw.
#pragma once

#include <map>

#include "spinor/learning/learning_run.h"

namespace spinor::learning {

// R1 where the first writes to the residual stream: an embedding, unless it is projected into the stream. Error if
// nothing that writes there is rotated.
Matrix<double> start_of_r1(const Model& model, const RotateOptions& options);
// R2 of every layer that has one; none of those for multi-token prediction, which no file has.
std::map<int, Matrix<double>> starts_of_r2(const Model& model, const RotateOptions& options);

// Of every linear on whose input the group v acts.
std::map<std::string, Rotation> starts_of_inputs(const Model& model, const RotateOptions& options);

// R1 and R2 that the run rotates with and has not learned, or not kept.
void add_starts(LearningRun& run);

}  // namespace spinor::learning
