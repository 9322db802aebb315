// The core of a modifier: what it makes of a model, and of a plan. The lifecycle (modifier.h) around it is done here,
// so a modifier of one's own is a name, its arguments and a rewrite():
//
//   class CenterModifier : public OnceModifier {
//    public:
//     std::string name() const override { return "CenterModifier"; }
//
//    protected:
//     void rewrite(const Model& model, RewritePlan& plan, Warnings&) override {
//       center_embeddings(model, plan, model.embedding()->name);
//     }
//   };
#pragma once

#include "spinor/modifier/modifier.h"

namespace spinor {

using Warnings = std::vector<std::string>;  // what the user should read

// Does all it does at one moment: calibration_epoch_start, or already initialize with start: 0. finalize is an Error if
// that moment never came.
class OnceModifier : public Modifier {
 protected:
  // At initialize, before any modifier of the recipe acts: what the arguments come to for this model.
  virtual void prepare(const Model&, Warnings&) {}
  // Does it. The plan is a copy that takes the place of the state's when nothing is thrown.
  virtual void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) = 0;

  bool on_initialize(State& state, const ExtraArguments& extra) final;
  void on_start(State& state, const Event* event, const ExtraArguments& extra) final;
  void on_event(State& state, const Event& event, const ExtraArguments& extra) final;
  void on_end(State& state, const Event* event, const ExtraArguments& extra) final;
  bool on_finalize(State& state, const ExtraArguments& extra) final;

 private:
  bool done_ = false;
};

}  // namespace spinor
