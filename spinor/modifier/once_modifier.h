// A modifier that does all it does at one moment: calibration_epoch_start, or already initialize with start: 0.
#pragma once

#include "spinor/modifier/modifier.h"

namespace spinor {

// finalize is an Error if the moment never came.
class OnceModifier : public Modifier {
 protected:
  // Error unless the state has a model and a plan.
  void require_model(const State& state) const;
  // Does it. The plan is a copy that takes the place of the state's when nothing is thrown.
  virtual void rewrite(State& state, RewritePlan& plan) = 0;

  void on_start(State& state, const Event* event, const ExtraArguments& extra) final;
  void on_event(State& state, const Event& event, const ExtraArguments& extra) final;
  void on_end(State& state, const Event* event, const ExtraArguments& extra) final;
  bool on_finalize(State& state, const ExtraArguments& extra) final;

 private:
  bool done_ = false;
};

}  // namespace spinor
