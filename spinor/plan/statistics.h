// How far a weight is from easy to quantize: the outliers of a tensor as a plan would make it.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

struct OutlierStatistics {
  std::string tensor;
  double max_over_rms = 0;       // largest magnitude; a Gaussian tensor of a million elements has about 5
  double kurtosis = 0;           // mean x^4 / (mean x^2)^2; 3 for a Gaussian, 1.8 for uniform
  int64_t worst_channel = 0;     // the column (input channel) with the largest rms ...
  double worst_channel_rms = 0;  // ... in units of the tensor's rms
};

// Of the tensors named (empty: every matrix of the plan), edited as the plan says, in double. Reads each once; memory
// as save(). A request to stop ends the work between two blocks with Stopped.
std::vector<OutlierStatistics> outlier_statistics(const RewritePlan& plan, const std::vector<std::string>& tensors = {},
                                                  int threads = 0, std::stop_token stop = {});

}  // namespace spinor
