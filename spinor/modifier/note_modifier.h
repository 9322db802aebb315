// For tests: a modifier as a program would write its own, which notes what a recipe did with it.
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

  void prepare(const Model&, RewritePlan&, Warnings&) override { note("prepare"); }
  void rewrite(const Model&, RewritePlan&, Warnings&) override { note("rewrite"); }
  void on_calibration(const CalibrationEvent& event, Warnings& warnings) override {
    constexpr const char* kNames[] = {"batch_start", "batch_end", "layer_end", "end"};
    note(kNames[static_cast<int>(event.kind)]);
    if (event.kind == CalibrationEvent::Kind::end) warnings.push_back("note " + arguments_.text);
  }
  void finish(Warnings&) override { note("finish"); }

 private:
  void note(const std::string& what) { log().push_back(arguments_.text + " " + what); }

  Arguments arguments_;
};

}  // namespace spinor
