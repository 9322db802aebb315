// Where calibration is, in the terms of llm-compressor's lifecycle and back.
#pragma once

#include <optional>

#include "spinor/lifecycle/event.h"
#include "spinor/modifier/modifier.h"

namespace spinor::lifecycle {

// batch_start, batch_end (global_step: the sample, steps_per_epoch: of how many), sequential_epoch_end,
// calibration_epoch_end.
Event event_of(const CalibrationEvent& event);
// Nothing for an event of another type.
std::optional<CalibrationEvent> calibration_event(const Event& event);

}  // namespace spinor::lifecycle
