// For tests: a modifier as a program would write its own, which notes what a recipe and its lifecycle did with it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "spinor/modifier/modifier_types.h"

namespace spinor {

class NoteModifier : public Modifier {
 public:
  struct Arguments {
    std::string text = "none";
    std::vector<int64_t> counts = {};
    Json any = {};
    template <class Visitor>
    void fields(Visitor& v) {
      v("text", text);
      v("counts", counts);
      v("any", any);
    }
  };

  explicit NoteModifier(Arguments arguments, const Place& place = {}) : arguments_(std::move(arguments)) {
    if (arguments_.text == "bad") place.key("text").fail("the text is bad");
  }
  std::string name() const override { return "NoteModifier"; }
  Json arguments() const override { return write_fields(arguments_); }
  const Arguments& read() const { return arguments_; }

  // Call once in a test program.
  static void add() {
    if (!is_modifier_name("NoteModifier")) register_modifier_type({"NoteModifier", make_modifier<NoteModifier>});
  }
  // What all of them did, in order, since a test last cleared it.
  static std::vector<std::string>& log() {
    static std::vector<std::string> lines;
    return lines;
  }

 protected:
  bool on_initialize(State&, const ExtraArguments&) override { return note("initialize"); }
  bool on_finalize(State&, const ExtraArguments&) override { return note("finalize"); }
  void on_event(State& state, const Event& event, const ExtraArguments&) override {
    note(std::string(name_of(*event.type)));
    if (event.type == EventType::calibration_epoch_end) state.warn("note " + arguments_.text);
  }

 private:
  bool note(const std::string& what) {
    log().push_back(arguments_.text + " " + what);
    return true;
  }

  Arguments arguments_;
};

}  // namespace spinor
