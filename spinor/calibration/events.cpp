#include "spinor/calibration/events.h"

namespace spinor::calibration {

void send_events(CalibrateOptions& options, RecipeRun& run) {
  options.batch_start = [&run](int64_t sample, int64_t all) {
    run.send({.type = EventType::batch_start, .steps_per_epoch = all, .global_step = sample});
  };
  options.batch_end = [&run](int64_t sample, int64_t all) {
    run.send({.type = EventType::batch_end, .steps_per_epoch = all, .global_step = sample});
  };
  options.layer_end = [&run](int64_t, const std::vector<ModuleReport>&) {
    run.send({.type = EventType::sequential_epoch_end});
  };
}

}  // namespace spinor::calibration
