// What gives a plan the data it needs before it is written. An interface, so that a job need not know what runs models:
// calibration::TextCalibrator is one, on libtorch.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "spinor/modifier/oneshot.h"
#include "spinor/plan/prepared.h"

namespace spinor {

class Calibrator {
 public:
  virtual ~Calibrator() = default;

  // What spinor.json says of the data: a resumed run must have the same.
  virtual Json record() const = 0;
  // Computes what plan.needs_data() stands for and writes it to `output`; what an earlier run has finished is kept.
  // `run` is told of each batch and layer as events, and is not finished. `out`: the directory that is being written;
  // what does not fit into memory goes beside it. Returns what the user should read.
  virtual std::vector<std::string> calibrate(const RewritePlan& plan, PreparedTensors& output, RecipeRun& run,
                                             const std::filesystem::path& out) = 0;
};

}  // namespace spinor
