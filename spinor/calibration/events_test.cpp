#include "spinor/calibration/events.h"

#include <gtest/gtest.h>

#include "spinor/modifier/note_modifier.h"
#include "spinor/plan/save.h"
#include "spinor/runtime/testing.h"
#include "spinor/transform/stored_online.h"

namespace spinor::calibration::events_test {
namespace {

constexpr const char* kRecipe = R"(
quant_stage:
  quant_modifiers:
    GPTQModifier:
      ignore: [lm_head]
      config_groups: {group_0: {targets: [Linear], weights: {num_bits: 4, strategy: channel}}}
    NoteModifier: {text: note}
)";

// In a model of two layers, with two samples.
TEST(Events, OfCalibrationReachEveryModifierInTheirOrder) {
  const testing::TemporaryDirectory directory;
  const Model model = testing::make_model(directory);
  NoteModifier::add();
  NoteModifier::log().clear();
  Recipe recipe = Recipe::parse(kRecipe, "recipe");
  RewritePlan plan = start_plan(model);
  RecipeRun run(recipe, model, plan);
  CalibrateOptions options{.runtime = {.threads = 1}, .scratch = directory.path()};
  send_events(options, run);
  const Samples samples{.count = 2, .context = 16, .tokens = testing::tokens(32, 40)};
  Saving saving(plan, directory / "out");
  const CalibrationReport report = calibrate(plan, samples, saving.prepared(), options);
  EXPECT_EQ(report.modules.size(), 14u);
  const std::vector<std::string> warnings = run.finish();
  saving.finish();
  std::vector<std::string> expected = {"note prepare", "note rewrite"};
  for (int layer = 0; layer < 2; ++layer) {
    for (int sample = 0; sample < 2; ++sample) expected.insert(expected.end(), {"note batch_start", "note batch_end"});
    expected.emplace_back("note layer_end");
  }
  expected.insert(expected.end(), {"note end", "note finish"});
  EXPECT_EQ(NoteModifier::log(), expected);
  EXPECT_EQ(warnings, std::vector<std::string>{"note note"});
}

}  // namespace
}  // namespace spinor::calibration::events_test
