#include "spinor/lifecycle/calibration_events.h"

#include <algorithm>
#include <iterator>

namespace spinor::lifecycle {
namespace {

using Kind = CalibrationEvent::Kind;

struct Row {
  Kind kind;
  EventType type;
};
constexpr Row kRows[] = {{Kind::batch_start, EventType::batch_start},
                         {Kind::batch_end, EventType::batch_end},
                         {Kind::layer_end, EventType::sequential_epoch_end},
                         {Kind::end, EventType::calibration_epoch_end}};

bool is_of_batch(Kind kind) {
  return kind == Kind::batch_start || kind == Kind::batch_end;
}

}  // namespace

Event event_of(const CalibrationEvent& event) {
  Event result{.type = std::ranges::find(kRows, event.kind, &Row::kind)->type};
  if (!is_of_batch(event.kind)) return result;
  result.steps_per_epoch = event.samples;
  result.global_step = event.sample;
  return result;
}

std::optional<CalibrationEvent> calibration_event(const Event& event) {
  if (!event.type) return {};
  const auto* row = std::ranges::find(kRows, *event.type, &Row::type);
  if (row == std::end(kRows)) return {};
  if (!is_of_batch(row->kind)) return CalibrationEvent{.kind = row->kind};
  return CalibrationEvent{.kind = row->kind, .sample = event.global_step, .samples = event.steps_per_epoch.value_or(0)};
}

}  // namespace spinor::lifecycle
