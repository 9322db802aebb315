// What calibration of a plan takes on several ranks, on paper.
#pragma once

#include <cstdint>

#include "spinor/plan/plan.h"

namespace spinor {

// Of samples, which go to ranks in chunks (kSamplesInChunk).
struct CalibrationSize {
  int64_t samples = 128, context = 2048;
  int ranks = 1;
};

struct CalibrationEstimate {
  int64_t chunks = 0;  // more ranks than that run no samples
  double samples = 0;  // floating point operations of the rank with most of them: layers, and X'X
  double codes = 0;    // of the owners that have most to do, layer after layer
  int64_t read = 0;    // bytes of weights, by each rank
  int64_t sent = 0;    // bytes, by the rank that sends most
  int64_t memory = 0;  // a layer in float32 and what is summed up of it: Hessians that a rank owns, and what it sends
  int64_t stream = 0;  // bytes of its samples between two layers, in memory or on its disk
};

// Tokens go to experts evenly. Zeros where the plan needs no data.
CalibrationEstimate estimate_calibration(const RewritePlan& plan, const CalibrationSize& size);

}  // namespace spinor
