// Modifiers with llm-compressor's lifecycle in recipes.
#include <gtest/gtest.h>

#include "spinor/io/testing.h"
#include "spinor/lifecycle/modifier.h"
#include "spinor/modifier/modifier_types.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/transform/fold.h"
#include "tests/golden/golden.h"

namespace spinor::lifecycle::recipe_test {
namespace {

using spinor::testing::message_of;

// Notes what is called, and changes the plan when it starts.
class CenterModifier : public Modifier {
 public:
  struct Arguments {
    bool at_once = false;  // at calibration_epoch_start, as SpinQuant does; else when `start` says so
    template <class Visitor>
    void fields(Visitor& v) {
      v("at_once", at_once);
    }
  };
  explicit CenterModifier(Arguments arguments, const Place& = {}) : arguments_(arguments) {}
  std::string name() const override { return "LifecycleCenterModifier"; }
  Json arguments() const override { return write_fields(arguments_); }

  static std::vector<std::string>& log() {
    static std::vector<std::string> lines;
    return lines;
  }

 protected:
  bool on_initialize(State& state, const ExtraArguments&) override {
    state.warn("initialized for " + std::string(state.model->architecture_name()));
    log().emplace_back("initialize");
    return true;
  }
  bool on_finalize(State&, const ExtraArguments&) override {
    log().emplace_back("finalize");
    return true;
  }
  void on_start(State& state, const Event*, const ExtraArguments&) override {
    set_started();
    log().emplace_back("start");
    center_embeddings(*state.model, *state.plan, "model.embed_tokens");
  }
  void on_event(State& state, const Event& event, const ExtraArguments& extra) override {
    log().push_back(std::string(name_of(*event.type)) + " " + std::to_string(event.global_step));
    if (arguments_.at_once && event.type == EventType::calibration_epoch_start) on_start(state, nullptr, extra);
  }

 private:
  Arguments arguments_;
};

class LifecycleInRecipe : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { register_modifier_type({"LifecycleCenterModifier", make_modifier<CenterModifier>}); }
  void SetUp() override { CenterModifier::log().clear(); }

  static Recipe recipe(const std::string& arguments) {
    return Recipe::parse("a_stage: {b_modifiers: {LifecycleCenterModifier: {" + arguments + "}, SpinQuantModifier: }}",
                         "recipe.yaml");
  }
  size_t edits() const { return golden::tensor(plan, "model.embed_tokens.weight").edits.size(); }

  Model model = golden::model("transforms/llama");
  RewritePlan plan{model};
};

TEST_F(LifecycleInRecipe, SeesEveryEventInItsOrder) {
  Recipe steps = recipe("at_once: true");
  RecipeRun run(steps, model, plan);
  EXPECT_GE(edits(), 2U) << "centred, then rotated";
  for (const auto kind : {CalibrationEvent::Kind::batch_start, CalibrationEvent::Kind::batch_end})
    run.send({.kind = kind, .sample = 1, .samples = 4});
  run.send({.kind = CalibrationEvent::Kind::layer_end});
  EXPECT_EQ(run.finish(), std::vector<std::string>{"initialized for LlamaForCausalLM"});
  EXPECT_EQ(CenterModifier::log(),
            (std::vector<std::string>{"initialize", "calibration_epoch_start 0", "start", "batch_start 1",
                                      "batch_end 1", "sequential_epoch_end 0", "calibration_epoch_end 0", "finalize"}));
}

TEST_F(LifecycleInRecipe, StartsAtInitializeWithStartZero) {
  Recipe steps = recipe("start: 0");
  run_recipe(steps, model, plan);
  EXPECT_EQ(CenterModifier::log(), (std::vector<std::string>{"initialize", "start", "calibration_epoch_start 0",
                                                             "calibration_epoch_end 0", "finalize"}));
  EXPECT_GE(edits(), 2U);
}

// What was calibrated would not be what is written.
TEST_F(LifecycleInRecipe, MayNotChangeThePlanWhileItIsCalibrated) {
  Recipe steps = recipe("start: 0.5");
  RecipeRun run(steps, model, plan);
  const CalibrationEvent early{.kind = CalibrationEvent::Kind::batch_start, .sample = 1, .samples = 4};
  const CalibrationEvent late{.kind = CalibrationEvent::Kind::batch_start, .sample = 2, .samples = 4};
  run.send(early);
  EXPECT_EQ(message_of([&] { run.send(late); }),
            "LifecycleCenterModifier: changes the plan while the model is calibrated with it; leave start out of the "
            "recipe, or set start: 0");
}

}  // namespace
}  // namespace spinor::lifecycle::recipe_test
