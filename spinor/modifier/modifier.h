// A step of a recipe: what it makes of a model, and of a plan. One of a program's own is a name, its arguments and a
// rewrite():
//
//   class CenterModifier : public spinor::Modifier {
//    public:
//     std::string name() const override { return "CenterModifier"; }
//     void rewrite(const Model& model, RewritePlan& plan, Warnings&) override {
//       center_embeddings(model, plan, model.embedding()->name);
//     }
//   };
//
// How a recipe learns its name: modifier_types.h. One that has to see State and Event of llm-compressor's lifecycle:
// lifecycle/modifier.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/plan/plan.h"

namespace spinor {

using Warnings = std::vector<std::string>;  // what the user should read

// The fields every modifier has in a recipe. Indices are steps, or epochs when the events are epoch based.
struct ModifierFields {
  std::optional<int64_t> index;      // position among the modifiers of the model
  std::optional<std::string> group;  // the group of the recipe it came from
  std::optional<double> start;       // first index at which it is active; unset: from the start of calibration on
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

// Where calibration is.
struct CalibrationEvent {
  enum class Kind {
    batch_start,  // a sample goes into a layer
    batch_end,
    layer_end,
    end  // of all of it, also where there was no data
  };
  Kind kind;
  int64_t sample = 0, samples = 0;  // of a batch: which, of how many
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
  // The model as it needs it, where that is not as the files have it: experts one by one. Asked before all else.
  virtual std::optional<Model> form_of(const Model&) const { return {}; }

  // A run of a recipe (oneshot.h) calls these, each for all of its modifiers before the next:
  // what the arguments come to for this model;
  virtual void prepare(const Model&, RewritePlan&, Warnings&) {}
  // the work, on a copy of the plan that takes its place when nothing is thrown;
  virtual void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) = 0;
  // what happens while the plan, which nobody changes any more, is calibrated;
  virtual void on_calibration(const CalibrationEvent&, Warnings&) {}
  // that there is nothing more to come.
  virtual void finish(Warnings&) {}
  // Whether rewrite() follows prepare() at once, before other modifiers are prepared: where start is 0 or less.
  virtual bool acts_at_once() const { return fields.start && *fields.start <= 0 && (!fields.end || *fields.end > 0); }

  ModifierFields fields;

 protected:
  Modifier() = default;
};

}  // namespace spinor
