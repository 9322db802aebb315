// The rules are those observed by running llm-compressor's State.
#include "spinor/lifecycle/state.h"

#include <gtest/gtest.h>

namespace spinor::lifecycle::state_test {
namespace {

SharedData data(int value) {
  return std::make_shared<std::any>(value);
}

class Notes : public BaseLogger {
 public:
  void log_string(std::string_view tag, std::string_view text, std::optional<double>) override {
    lines.push_back(std::string(tag) + ": " + std::string(text));
  }
  void log_scalar(std::string_view tag, double value, std::optional<double> step) override {
    lines.push_back(std::string(tag) + " = " + std::to_string(value) + (step ? "" : " at no step"));
  }
  std::vector<std::string> lines;
};

// The state only carries the model; what it points to is never looked at.
const Model* some_model() {
  alignas(Model) static const char storage[sizeof(Model)] = {};
  return static_cast<const Model*>(static_cast<const void*>(storage));
}

TEST(State, IsEmptyUntilUpdated) {
  const State state;
  EXPECT_EQ(state.model, nullptr);
  EXPECT_EQ(state.plan, nullptr);
  EXPECT_FALSE(state.teacher_model.has_value() || state.optimizer.has_value() || state.loss.has_value() ||
               state.batch_data.has_value() || state.hardware.device.has_value());
  EXPECT_EQ(state.optim_wrapped, std::nullopt);
  EXPECT_FALSE(state.data.train || state.data.val || state.data.test || state.data.calib);
  EXPECT_EQ(state.loggers, nullptr);
  EXPECT_EQ(state.model_log_cadence, std::nullopt);
  EXPECT_FALSE(state.compression_ready());
}

TEST(State, IsReadyWithModelAndOptimizer) {
  State state;
  state.update({.model = some_model()});
  EXPECT_FALSE(state.compression_ready());
  state.update({.optimizer = 1});
  EXPECT_TRUE(state.compression_ready());
  EXPECT_EQ(state.model, some_model()) << "what is absent changes nothing";
}

TEST(State, WrapsTheOptimizerOnlyTogetherWithOne) {
  State state;
  EXPECT_TRUE(state.update({.attach_optim_callbacks = false}).empty());
  EXPECT_EQ(state.optim_wrapped, std::nullopt);
  state.update({.optimizer = 1, .attach_optim_callbacks = false});
  EXPECT_EQ(state.optim_wrapped, false);
  state.update({.attach_optim_callbacks = true});
  EXPECT_EQ(state.optim_wrapped, false);
  state.update({.optimizer = 2});
  EXPECT_EQ(state.optim_wrapped, true);
  EXPECT_EQ(std::any_cast<int>(state.optimizer), 2);
}

TEST(State, CopiesDataUnlessTold) {
  State state;
  const SharedData train = data(1), calib = data(2);
  state.update({.train_data = train});
  EXPECT_NE(state.data.train, train);
  EXPECT_EQ(std::any_cast<int>(*state.data.train), 1);
  state.update({.calib_data = calib, .copy_data = false});
  EXPECT_EQ(state.data.calib, calib);
  state.update({});
  EXPECT_EQ(state.data.calib, calib) << "none given keeps the old";
  state.update({.train_data = std::make_shared<std::any>()});
  ASSERT_TRUE(state.data.train);
  EXPECT_FALSE(state.data.train->has_value()) << "empty data counts as given";
  state.update({.val_data = data(3), .test_data = data(4)});
  EXPECT_EQ(std::any_cast<int>(*state.data.val), 3);
  EXPECT_EQ(std::any_cast<int>(*state.data.test), 4);
}

TEST(State, ReplacesLoggersAtEveryCall) {
  State state;
  const auto notes = std::make_shared<Notes>();
  const auto manager = std::make_shared<LoggerManager>(std::vector<std::shared_ptr<BaseLogger>>{notes});
  state.update({.loggers = manager});
  EXPECT_EQ(state.loggers, manager);
  state.update({});
  EXPECT_NE(state.loggers, manager);
  EXPECT_TRUE(state.loggers->loggers().empty());
  state.update({.loggers = std::vector<std::shared_ptr<BaseLogger>>{notes}});
  ASSERT_EQ(state.loggers->loggers().size(), 1U);
  EXPECT_EQ(state.loggers->loggers()[0], notes);
  const auto empty = std::make_shared<LoggerManager>();
  state.update({.loggers = empty});
  EXPECT_NE(state.loggers, empty) << "an empty manager counts as none";
}

TEST(State, StoresAnyDeviceAndReturnsTheExtraArguments) {
  State state;
  const ExtraArguments extra = state.update({}, {{"device", std::string("cuda:0")}, {"foo", 1}});
  EXPECT_EQ(std::any_cast<std::string>(state.hardware.device), "cuda:0");
  ASSERT_EQ(extra.size(), 2U);
  EXPECT_EQ(std::any_cast<int>(extra.at("foo")), 1);
  state.update({});
  EXPECT_EQ(std::any_cast<std::string>(state.hardware.device), "cuda:0");
  state.update({}, {{"device", {}}});
  EXPECT_FALSE(state.hardware.device.has_value());
}

TEST(State, AcceptsWhatHasNoEffect) {
  State state;
  EXPECT_TRUE(state.update({.start = 1, .steps_per_epoch = 2, .batches_per_step = 3}).empty());
  EXPECT_EQ(state.model_log_cadence, std::nullopt);
  state.update({.model_log_cadence = 0});
  EXPECT_EQ(state.model_log_cadence, 0);
  state.update({.teacher_model = 5});
  EXPECT_EQ(state.model_log_cadence, 0);
  EXPECT_EQ(std::any_cast<int>(state.teacher_model), 5);
}

TEST(State, WarningsReachTheUserAndTheLoggers) {
  State state;
  state.warn("before there is a logger");
  const auto notes = std::make_shared<Notes>();
  state.update({.loggers = std::vector<std::shared_ptr<BaseLogger>>{notes}});
  state.warn("after");
  state.loggers->log_scalar("loss", 2);
  EXPECT_EQ(state.warnings, (std::vector<std::string>{"before there is a logger", "after"}));
  EXPECT_EQ(notes->lines, (std::vector<std::string>{"warning: after", "loss = 2.000000 at no step"}));
}

}  // namespace
}  // namespace spinor::lifecycle::state_test
