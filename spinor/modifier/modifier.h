// A step of a recipe and its lifecycle: initialize, events, finalize. Programs derive their own (docs of recipe.h: how
// a recipe learns its name).
#pragma once

#include <filesystem>

#include "spinor/base/fields.h"
#include "spinor/modifier/event.h"
#include "spinor/modifier/state.h"

namespace spinor {

// The fields every modifier has. Indices are steps, or epochs when the events are epoch based.
struct ModifierFields {
  std::optional<int64_t> index;      // position among the modifiers of the model
  std::optional<std::string> group;  // the group of the recipe it came from
  std::optional<double> start;       // first index at which it is active; unset: only its own hooks start it
  std::optional<double> end;         // first index at which it is not any more
  std::optional<double> update;      // interval; for the hooks' own use
  bool requires_calibration_data = false;

  template <class Visitor>
  void fields(Visitor& v) {
    v("requires_calibration_data", requires_calibration_data);
    v("index", index);
    v("group", group);
    v("start", start);
    v("end", end);
    v("update", update);
  }
};

class Modifier {
 public:
  virtual ~Modifier() = default;
  Modifier(const Modifier&) = delete;
  Modifier& operator=(const Modifier&) = delete;

  // Its name in recipes and messages: "SpinQuantModifier".
  virtual std::string name() const = 0;
  // Its arguments in a recipe, without the fields every modifier has; what a maker reads back. Null values are left
  // out.
  virtual Json arguments() const { return Json::object(); }
  // Told where the file is that it was read from: relative paths among its arguments begin there.
  virtual void read_in(const std::filesystem::path&) {}
  // The model as it needs it, where that is not as the files have it: experts one by one. Asked before initialize.
  virtual std::optional<Model> form_of(const Model&) const { return {}; }

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

  ModifierFields fields;

 protected:
  Modifier() = default;

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
  bool initialized_ = false, finalized_ = false, started_ = false, ended_ = false;
};

}  // namespace spinor
