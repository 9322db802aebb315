// A job's Calibrator that runs the model on samples of a text, layer by layer.
#pragma once

#include "spinor/base/rank.h"
#include "spinor/calibration/calibrate.h"
#include "spinor/job/calibrator.h"

namespace spinor::calibration {

// What calibrate() does. Writes calibration.json beside the weights; spinor.json has a digest of the samples.
class TextCalibrator : public Calibrator {
 public:
  // options.scratch is not used: what does not fit into memory goes beside the output. Its callbacks are called after
  // the modifiers have heard of the event. runtime.threads is part of the record; 0: all there are.
  // Of several ranks all meet there, and have all of the samples.
  TextCalibrator(Samples samples, CalibrateOptions options, Rank rank = {}, RankMeeting meeting = {});

  Json record() const override;
  std::vector<std::string> calibrate(const RewritePlan& plan, PreparedTensors& output, RecipeRun& run,
                                     const std::filesystem::path& out) override;

 private:
  Samples samples_;
  CalibrateOptions options_;
  Rank rank_;
  RankMeeting meeting_;
};

}  // namespace spinor::calibration
