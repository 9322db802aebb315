#include "spinor/calibration/events.h"

#include <utility>

namespace spinor::calibration {

void send_events(CalibrateOptions& options, RecipeRun& run) {
  options.batch_start = [&run, then = std::move(options.batch_start)](int64_t sample, int64_t all) {
    run.send({.kind = CalibrationEvent::Kind::batch_start, .sample = sample, .samples = all});
    if (then) then(sample, all);
  };
  options.batch_end = [&run, then = std::move(options.batch_end)](int64_t sample, int64_t all) {
    run.send({.kind = CalibrationEvent::Kind::batch_end, .sample = sample, .samples = all});
    if (then) then(sample, all);
  };
  options.layer_end = [&run, then = std::move(options.layer_end)](int64_t layer,
                                                                  const std::vector<ModuleReport>& modules) {
    run.send({.kind = CalibrationEvent::Kind::layer_end});
    if (then) then(layer, modules);
  };
}

}  // namespace spinor::calibration
