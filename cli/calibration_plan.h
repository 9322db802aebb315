// What calibration takes on several ranks, on paper.
#pragma once

#include <optional>
#include <string>

#include "spinor/base/json.h"
#include "spinor/plan/calibration_estimate.h"

namespace spinor::cli {

class CalibrationPlan {
 public:
  // Rates of one rank, in bytes and in floating point operations a second.
  CalibrationPlan(const RewritePlan& plan, const CalibrationSize& size, std::optional<double> bandwidth,
                  std::optional<double> flops)
      : size_(size), estimate_(estimate_calibration(plan, size)), bandwidth_(bandwidth), flops_(flops) {}

  bool asked() const { return estimate_.chunks > 0; }
  Json json() const;
  std::string text() const;

 private:
  std::optional<double> seconds() const;

  CalibrationSize size_;
  CalibrationEstimate estimate_;
  std::optional<double> bandwidth_, flops_;
};

}  // namespace spinor::cli
