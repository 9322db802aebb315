// The lifecycle around a modifier of recipes, for a program that sends events itself:
//
//   lifecycle::OnceModifier modifier(std::make_unique<SpinQuantModifier>(SpinQuantArguments()));
//   modifier.initialize(state);
//   modifier.update_event(state, {.type = EventType::calibration_epoch_start});
//   ...
//   modifier.finalize(state);
#pragma once

#include <memory>

#include "spinor/lifecycle/modifier.h"

namespace spinor::lifecycle {

// Rewrites the plan at one moment: calibration_epoch_start, or already initialize with start: 0. What calibration sends
// after that reaches on_calibration(), and finalize finish(). finalize is an Error if that moment never came. Its
// fields are those of the modifier when it was given.
class OnceModifier : public Modifier {
 public:
  explicit OnceModifier(std::unique_ptr<spinor::Modifier> modifier);

  std::string name() const override { return modifier_->name(); }
  Json arguments() const override { return modifier_->arguments(); }
  void read_in(const std::filesystem::path& directory) override { modifier_->read_in(directory); }
  std::optional<Model> form_of(const Model& model) const override { return modifier_->form_of(model); }

 protected:
  bool on_initialize(State& state, const ExtraArguments& extra) override;
  // The plan is changed as a whole, or not at all.
  void on_start(State& state, const Event* event, const ExtraArguments& extra) override;
  void on_event(State& state, const Event& event, const ExtraArguments& extra) override;
  void on_end(State& state, const Event* event, const ExtraArguments& extra) override;
  bool on_finalize(State& state, const ExtraArguments& extra) override;

 private:
  std::unique_ptr<spinor::Modifier> modifier_;
  bool done_ = false;
};

}  // namespace spinor::lifecycle
