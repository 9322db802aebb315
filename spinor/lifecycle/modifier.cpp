#include "spinor/lifecycle/modifier.h"

#include <iterator>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/lifecycle/calibration_events.h"

namespace spinor::lifecycle {
void Modifier::initialize(State& state, const ExtraArguments& extra) {
  if (initialized_) throw Error(name(), "Cannot initialize a modifier that has already been initialized");
  initialized_ = on_initialize(state, extra);
  const Event first{.type = EventType::batch_start};
  if (!should_start(first)) return;
  on_start(state, &first, extra);
  started_ = true;
}

void Modifier::update_event(State& state, const Event& event, const ExtraArguments& extra) {
  if (!initialized_) throw Error(name(), "Cannot update an uninitialized modifier");
  if (finalized_) throw Error(name(), "Cannot update a finalized modifier");
  on_event(state, event, extra);
  if (event.type == EventType::batch_start && !started_ && should_start(event)) {
    on_start(state, &event, extra);
    started_ = true;
    on_update(state, event, extra);
  } else if (event.type == EventType::batch_end && !ended_ && should_end(event)) {
    on_end(state, &event, extra);
    ended_ = true;
    on_update(state, event, extra);
  } else if (started_ && !ended_) {
    on_update(state, event, extra);
  }
}

void Modifier::finalize(State& state, const ExtraArguments& extra) {
  if (finalized_) throw Error(name(), "cannot finalize a modifier twice");
  if (!initialized_) throw Error(name(), "cannot finalize an uninitialized modifier");
  finalized_ = on_finalize(state, extra);
}

bool Modifier::should_start(const Event& event) const {
  if (!fields.start) return false;
  const double index = event.current_index();
  return *fields.start <= index && (!fields.end || index < *fields.end);
}

bool Modifier::should_end(const Event& event) const {
  const double index = event.current_index();
  return fields.end && index >= *fields.end;
}

void Modifier::prepare(const Model& model, RewritePlan& plan, Warnings& warnings) {
  state_.update({.model = &model, .plan = &plan});
  initialize(state_);
  hand_over(warnings);
}

void Modifier::rewrite(const Model&, RewritePlan& plan, Warnings& warnings) {
  RewritePlan* const kept = std::exchange(state_.plan, &plan);
  try {
    update_event(state_, {.type = EventType::calibration_epoch_start});
  } catch (...) {
    state_.plan = kept;
    throw;
  }
  state_.plan = kept;
  hand_over(warnings);
}

void Modifier::on_calibration(const CalibrationEvent& event, Warnings& warnings) {
  update_event(state_, event_of(event));
  hand_over(warnings);
}

void Modifier::finish(Warnings& warnings) {
  finalize(state_);
  hand_over(warnings);
}

void Modifier::hand_over(Warnings& warnings) {
  std::ranges::move(std::exchange(state_.warnings, {}), std::back_inserter(warnings));
}

}  // namespace spinor::lifecycle
