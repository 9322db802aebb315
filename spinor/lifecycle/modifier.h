// llm-compressor's lifecycle of a modifier: initialize, events, finalize, with hooks for each. It is an adapter around
// the modifiers of recipes (modifier/modifier.h), which know none: what derives from lifecycle::Modifier runs in them,
// and a program that sends events of its own can send them to any modifier (once_modifier.h).
#pragma once

#include "spinor/lifecycle/event.h"
#include "spinor/lifecycle/state.h"
#include "spinor/modifier/modifier.h"

namespace spinor::lifecycle {

class Modifier : public spinor::Modifier {
 public:
  // Calls on_initialize; then, when the modifier is active at step 0, on_start with a batch_start event. When
  // on_initialize returns false the modifier stays uninitialized and initialize may be called again. Error if
  // initialized before.
  void initialize(State& state, const ExtraArguments& extra = {});
  // on_event first. Then, at a batch_start that should_start: on_start and on_update; at a batch_end that should_end
  // (even if it never started): on_end and on_update; at any other event while started and not ended: on_update. Error
  // before initialize and after finalize.
  void update_event(State& state, const Event& event, const ExtraArguments& extra = {});
  // Calls on_finalize; when it returns false, finalize may be called again. Error before initialize, and twice.
  void finalize(State& state, const ExtraArguments& extra = {});

  bool should_start(const Event& event) const;  // start <= index < end; false when start is unset
  bool should_end(const Event& event) const;    // end <= index; false when end is unset

  bool initialized() const { return initialized_; }
  bool finalized() const { return finalized_; }
  bool started() const { return started_; }
  bool ended() const { return ended_; }

  // In a recipe, with a state of its own: initialize(); the event calibration_epoch_start; what happens while the plan
  // calibrated, then calibration_epoch_end, as events; finalize().
  void prepare(const Model& model, RewritePlan& plan, Warnings& warnings) final;
  void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) final;
  void on_calibration(const CalibrationEvent& event, Warnings& warnings) final;
  void finish(Warnings& warnings) final;
  bool acts_at_once() const final { return false; }  // initialize() sees to it

 protected:
  virtual bool on_initialize(State& state, const ExtraArguments& extra) = 0;
  virtual bool on_finalize(State&, const ExtraArguments&) { return true; }
  // The event is null when none caused the call. started() / ended() becomes true after the hook returns when the
  // lifecycle calls it; a hook that is called from on_event says so itself with set_started() / set_ended().
  virtual void on_start(State&, const Event*, const ExtraArguments&) {}
  virtual void on_end(State&, const Event*, const ExtraArguments&) {}
  virtual void on_update(State&, const Event&, const ExtraArguments&) {}
  virtual void on_event(State&, const Event&, const ExtraArguments&) {}

  void set_started() { started_ = true; }
  void set_ended() { ended_ = true; }

 private:
  void hand_over(Warnings& warnings);  // what was added to the state's

  State state_;  // in a recipe
  bool initialized_ = false, finalized_ = false, started_ = false, ended_ = false;
};

}  // namespace spinor::lifecycle
