#include "cli/calibration_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/io/file.h"
#include "spinor/plan/calibration_share.h"

namespace spinor::cli {

// One after the other: a rank reads a layer, runs its samples, finds its codes.
std::optional<double> CalibrationPlan::seconds() const {
  if (!flops_) return std::nullopt;
  double time = (estimate_.samples + estimate_.codes) / *flops_;
  if (bandwidth_) time += static_cast<double>(estimate_.read + estimate_.sent) / *bandwidth_;
  return time;
}

Json CalibrationPlan::json() const {
  Json json = {{"samples", size_.samples},
               {"context", size_.context},
               {"ranks_with_samples", std::min<int64_t>(estimate_.chunks, size_.ranks)},
               {"sample_flops", estimate_.samples},
               {"code_flops", estimate_.codes},
               {"read", estimate_.read},
               {"sent", estimate_.sent},
               {"memory", estimate_.memory},
               {"stream", estimate_.stream}};
  if (const std::optional<double> time = seconds()) json["seconds"] = *time;
  return json;
}

std::string CalibrationPlan::text() const {
  std::string text = fmt::format(
      "\ncalibration on {} samples of {} tokens, of {} ranks the one that has most to do:\n"
      "  {:.1f} TFLOP for its samples, {:.1f} TFLOP for its codes\n"
      "  reads {}, sends {}; {} of memory, and {} for its samples between two layers\n",
      size_.samples, size_.context, size_.ranks, estimate_.samples / 1e12, estimate_.codes / 1e12,
      describe_bytes(estimate_.read), describe_bytes(estimate_.sent), describe_bytes(estimate_.memory),
      describe_bytes(estimate_.stream));
  if (estimate_.chunks < size_.ranks)
    text += fmt::format("  only {} ranks have samples, which are divided by {}\n", estimate_.chunks, kSamplesInChunk);
  if (const std::optional<double> time = seconds()) text += fmt::format("  about {:.0f} s\n", *time);
  return text;
}

}  // namespace spinor::cli
