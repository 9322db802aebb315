// When a SpinQuantModifier acts.
#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/spinquant_modifier.h"
#include "tests/golden/golden.h"

namespace spinor::spinquant_lifecycle_test {
namespace {

using testing::message_of;

class SpinQuantLifecycle : public ::testing::Test {
 protected:
  SpinQuantLifecycle() { state.update({.model = &model, .plan = &plan}); }
  void send(Modifier& modifier, EventType type) { modifier.update_event(state, {.type = type}); }
  bool untouched() const { return plan.describe(true) == RewritePlan(model).describe(true); }

  Model model = golden::model("transforms/llama");
  RewritePlan plan{model};
  State state;
};

TEST_F(SpinQuantLifecycle, ActsOnceAtTheStartOfCalibration) {
  SpinQuantModifier modifier({});
  modifier.initialize(state);
  EXPECT_FALSE(modifier.started());
  EXPECT_EQ(modifier.arguments()["transform_config"]["config_groups"].size(), 2U) << "R1 and R2 are made at initialize";
  for (const EventType type : {EventType::batch_start, EventType::batch_end, EventType::sequential_epoch_end}) {
    send(modifier, type);
  }
  EXPECT_TRUE(untouched());
  send(modifier, EventType::calibration_epoch_start);
  EXPECT_TRUE(modifier.started());
  const std::string once = plan.describe(true);
  EXPECT_FALSE(untouched());
  send(modifier, EventType::calibration_epoch_start);
  EXPECT_EQ(plan.describe(true), once);
  send(modifier, EventType::sequential_epoch_end);
  EXPECT_FALSE(modifier.ended());
  send(modifier, EventType::calibration_epoch_end);
  EXPECT_TRUE(modifier.ended());
  modifier.finalize(state);
  EXPECT_TRUE(modifier.finalized());
  EXPECT_EQ(plan.describe(true), once);
}

TEST_F(SpinQuantLifecycle, ActsAtInitializeWhenItStartsAtZero) {
  SpinQuantModifier modifier({});
  modifier.fields.start = 0;
  modifier.initialize(state);
  EXPECT_TRUE(modifier.started());
  const std::string once = plan.describe(true);
  EXPECT_FALSE(untouched());
  send(modifier, EventType::calibration_epoch_start);
  EXPECT_EQ(plan.describe(true), once);
  modifier.finalize(state);
  EXPECT_TRUE(modifier.ended()) << "finalize ends what no event ended";
}

TEST_F(SpinQuantLifecycle, FinalizeWithoutAStartIsAnError) {
  SpinQuantModifier modifier({});
  modifier.initialize(state);
  EXPECT_EQ(
      message_of([&] { modifier.finalize(state); }),
      "SpinQuantModifier: was finalized but never started, so nothing was done; send it calibration_epoch_start, or "
      "set start: 0");
  EXPECT_FALSE(modifier.finalized());
}

TEST_F(SpinQuantLifecycle, AFailedStartCountsAsStartedAndCannotBeFinalized) {
  SpinQuantModifier modifier({.rotations = {Spin::R1}, .transform_block_size = 3});
  modifier.initialize(state);
  EXPECT_THROW(send(modifier, EventType::calibration_epoch_start), Error);
  EXPECT_TRUE(modifier.started());
  EXPECT_TRUE(untouched());
  EXPECT_THROW(modifier.finalize(state), Error);
}

TEST_F(SpinQuantLifecycle, NeedsAModelAndAPlan) {
  State empty;
  SpinQuantModifier modifier({});
  EXPECT_EQ(message_of([&] { modifier.initialize(empty); }),
            "SpinQuantModifier: needs a model and a plan; call state.update({.model = &model, .plan = &plan}) first");
  EXPECT_FALSE(modifier.initialized());
}

}  // namespace
}  // namespace spinor::spinquant_lifecycle_test
