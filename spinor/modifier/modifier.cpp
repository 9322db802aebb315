#include "spinor/modifier/modifier.h"

#include "spinor/base/error.h"

namespace spinor {

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

}  // namespace spinor
