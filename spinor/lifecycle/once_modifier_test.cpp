#include "spinor/lifecycle/once_modifier.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/note_modifier.h"
#include "spinor/modifier/quip_modifier.h"
#include "spinor/modifier/spinquant_modifier.h"
#include "tests/golden/golden.h"

namespace spinor::lifecycle::once_modifier_test {
namespace {

using spinor::testing::message_of;

OnceModifier spinquant(SpinQuantArguments arguments = {}) {
  return OnceModifier(std::make_unique<SpinQuantModifier>(std::move(arguments)));
}

class OnceModifierTest : public ::testing::Test {
 protected:
  OnceModifierTest() { state.update({.model = &model, .plan = &plan}); }
  void send(Modifier& modifier, EventType type) { modifier.update_event(state, {.type = type}); }
  bool untouched() const { return plan.text(true) == RewritePlan(model).text(true); }

  Model model = golden::model("transforms/llama");
  RewritePlan plan{model};
  State state;
};

TEST_F(OnceModifierTest, ActsOnceAtTheStartOfCalibration) {
  OnceModifier modifier = spinquant();
  modifier.initialize(state);
  EXPECT_FALSE(modifier.started());
  EXPECT_EQ(modifier.arguments()["transform_config"]["config_groups"].size(), 2U) << "R1 and R2 are made at initialize";
  for (const EventType type : {EventType::batch_start, EventType::batch_end, EventType::sequential_epoch_end}) {
    send(modifier, type);
  }
  EXPECT_TRUE(untouched());
  send(modifier, EventType::calibration_epoch_start);
  EXPECT_TRUE(modifier.started());
  const std::string once = plan.text(true);
  EXPECT_FALSE(untouched());
  send(modifier, EventType::calibration_epoch_start);
  EXPECT_EQ(plan.text(true), once);
  send(modifier, EventType::sequential_epoch_end);
  EXPECT_FALSE(modifier.ended());
  send(modifier, EventType::calibration_epoch_end);
  EXPECT_TRUE(modifier.ended());
  modifier.finalize(state);
  EXPECT_TRUE(modifier.finalized());
  EXPECT_EQ(plan.text(true), once);
}

TEST_F(OnceModifierTest, ActsAtInitializeWhenItStartsAtZero) {
  OnceModifier modifier = spinquant();
  modifier.fields.start = 0;
  modifier.initialize(state);
  EXPECT_TRUE(modifier.started());
  const std::string once = plan.text(true);
  EXPECT_FALSE(untouched());
  send(modifier, EventType::calibration_epoch_start);
  EXPECT_EQ(plan.text(true), once);
  modifier.finalize(state);
  EXPECT_TRUE(modifier.ended()) << "finalize ends what no event ended";
}

TEST_F(OnceModifierTest, FinalizeWithoutAStartIsAnError) {
  OnceModifier modifier = spinquant();
  modifier.initialize(state);
  EXPECT_EQ(
      message_of([&] { modifier.finalize(state); }),
      "SpinQuantModifier: was finalized but never started, so nothing was done; send it calibration_epoch_start, or "
      "set start: 0");
  EXPECT_FALSE(modifier.finalized());
}

TEST_F(OnceModifierTest, AFailedStartCountsAsStartedAndCannotBeFinalized) {
  OnceModifier modifier = spinquant({.rotations = {Spin::R1}, .transform_block_size = 3});
  modifier.initialize(state);
  EXPECT_THROW(send(modifier, EventType::calibration_epoch_start), Error);
  EXPECT_TRUE(modifier.started());
  EXPECT_TRUE(untouched());
  EXPECT_THROW(modifier.finalize(state), Error);
}

TEST_F(OnceModifierTest, NeedsAModelAndAPlan) {
  State empty;
  OnceModifier modifier = spinquant();
  EXPECT_EQ(message_of([&] { modifier.initialize(empty); }),
            "SpinQuantModifier: needs a model and a plan; call state.update({.model = &model, .plan = &plan}) first");
  EXPECT_FALSE(modifier.initialized());
}

TEST_F(OnceModifierTest, PassesOnWhatCalibrationSends) {
  NoteModifier::log().clear();
  OnceModifier modifier(std::make_unique<NoteModifier>(NoteModifier::Arguments{.text = "note"}));
  modifier.initialize(state);
  send(modifier, EventType::batch_start);
  EXPECT_EQ(NoteModifier::log(), std::vector<std::string>{"note prepare"}) << "not before it has rewritten the plan";
  for (const EventType type : {EventType::calibration_epoch_start, EventType::batch_start, EventType::loss_calculated,
                               EventType::batch_end, EventType::sequential_epoch_end, EventType::calibration_epoch_end})
    send(modifier, type);
  modifier.finalize(state);
  EXPECT_EQ(NoteModifier::log(),
            (std::vector<std::string>{"note prepare", "note rewrite", "note batch_start", "note batch_end",
                                      "note layer_end", "note end", "note finish"}));
  EXPECT_EQ(state.warnings, std::vector<std::string>{"note note"});
}

TEST_F(OnceModifierTest, IsThereForEveryModifier) {
  OnceModifier modifier(std::make_unique<QuIPModifier>(QuipArguments{}));
  modifier.initialize(state);
  EXPECT_EQ(modifier.arguments()["transform_config"]["config_groups"].size(), 1U) << "v is made at initialize";
  EXPECT_TRUE(plan.online().empty());
  for (int i = 0; i < 2; ++i) modifier.update_event(state, {.type = EventType::calibration_epoch_start});
  EXPECT_EQ(plan.online().size(), 14U);
  modifier.update_event(state, {.type = EventType::calibration_epoch_end});
  EXPECT_TRUE(modifier.ended());
  modifier.finalize(state);

  OnceModifier idle(std::make_unique<QuIPModifier>(QuipArguments{}));
  idle.initialize(state);
  EXPECT_THROW(idle.finalize(state), Error);
}

}  // namespace
}  // namespace spinor::lifecycle::once_modifier_test
