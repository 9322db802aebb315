// The rows that rotations of inputs are learned from: what linears read, one layer at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <vector>

#include "spinor/calibration/samples.h"
#include "spinor/learning/capture.h"
#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace spinor::learning {

// Linears that read the same.
using InputSet = std::vector<const Module*>;

struct InputRows {
  const InputSet* set = nullptr;
  RowSet learn, judge;  // either may be undefined: of an expert that no token reached
};

struct InputRowOptions {
  int64_t learn = 0;  // the first so many samples are to learn on, the others to judge on
  // At most about so many rows in each part, drawn from each sample alike, its first token always among them.
  int64_t rows = 4096, judge_rows = 2048;
  double first_token = 1;   // weight of a window's first token; others weigh 1
  bool of_weights = false;  // rows are those of the linears' weights
  uint64_t seed = 0;
  runtime::RuntimeOptions runtime = {};
  std::filesystem::path scratch = ".";  // see SamplePass
  std::stop_token stop = {};
};

// Runs the samples through the plan's model layer by layer, in float32, and hands over what the sets of each layer
// read, each row with a root mean square of 1, before the next layer runs. Sets are of the layers
// (Model::is_in_layers). Memory: a layer, the stream between two layers, 2 bytes an element of the rows of one layer.
// Errors as of capture_rows().
void for_input_rows(const RewritePlan& plan, const calibration::Samples& samples, const std::vector<InputSet>& sets,
                    const InputRowOptions& options,
                    const std::function<void(int64_t layer, std::vector<InputRows> rows)>& visit);

}  // namespace spinor::learning
