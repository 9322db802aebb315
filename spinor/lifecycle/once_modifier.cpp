#include "spinor/lifecycle/once_modifier.h"

#include <utility>

#include "spinor/base/error.h"
#include "spinor/lifecycle/calibration_events.h"

namespace spinor::lifecycle {
namespace {

void pass_on(const Warnings& warnings, State& state) {
  for (const std::string& warning : warnings) state.warn(warning);
}

}  // namespace

OnceModifier::OnceModifier(std::unique_ptr<spinor::Modifier> modifier) : modifier_(std::move(modifier)) {
  fields = modifier_->fields;
}

bool OnceModifier::on_initialize(State& state, const ExtraArguments&) {
  if (state.model == nullptr || state.plan == nullptr)
    throw Error(name(), "needs a model and a plan", "call state.update({.model = &model, .plan = &plan}) first");
  Warnings warnings;
  modifier_->prepare(*state.model, *state.plan, warnings);
  pass_on(warnings, state);
  return true;
}

void OnceModifier::on_start(State& state, const Event*, const ExtraArguments&) {
  set_started();
  RewritePlan plan = *state.plan;
  Warnings warnings;
  modifier_->rewrite(*state.model, plan, warnings);
  *state.plan = std::move(plan);
  pass_on(warnings, state);
  done_ = true;
}

void OnceModifier::on_event(State& state, const Event& event, const ExtraArguments& extra) {
  if (const std::optional<CalibrationEvent> told = calibration_event(event); told && done_) {
    Warnings warnings;
    modifier_->on_calibration(*told, warnings);
    pass_on(warnings, state);
  }
  if (event.type == EventType::calibration_epoch_start && !started()) on_start(state, nullptr, extra);
  if (event.type == EventType::calibration_epoch_end && !ended()) on_end(state, nullptr, extra);
}

void OnceModifier::on_end(State&, const Event*, const ExtraArguments&) {
  set_ended();
}

bool OnceModifier::on_finalize(State& state, const ExtraArguments& extra) {
  if (!done_)
    throw Error(name(), "was finalized but never started, so nothing was done",
                "send it calibration_epoch_start, or set start: 0");
  if (!ended()) on_end(state, nullptr, extra);
  Warnings warnings;
  modifier_->finish(warnings);
  pass_on(warnings, state);
  return true;
}

}  // namespace spinor::lifecycle
