// The values of the tables were obtained by running llm-compressor's Event.
#include "spinor/lifecycle/event.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "spinor/base/error.h"

namespace spinor::lifecycle::event_test {
namespace {

using Int = std::optional<int64_t>;
using Real = std::optional<double>;
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <typename Function>
std::string problem_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.problem();
  }
  return "no error";
}

TEST(EventType, PrintsAndReadsAsItsLowerCaseName) {
  const std::vector<std::string_view> names = {"initialize",
                                               "finalize",
                                               "batch_start",
                                               "loss_calculated",
                                               "batch_end",
                                               "calibration_epoch_start",
                                               "sequential_epoch_end",
                                               "calibration_epoch_end",
                                               "optim_pre_step",
                                               "optim_post_step"};
  ASSERT_EQ(event_types().size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(name_of(event_types()[i]), names[i]);
    EXPECT_EQ(event_type_from(names[i]), event_types()[i]);
  }
  EXPECT_EQ(problem_of([] { event_type_from("BATCH_START"); }), "'BATCH_START' is not a valid EventType");
  EXPECT_EQ(problem_of([] { event_type_from(""); }), "'' is not a valid EventType");
}

TEST(Event, IsNothingUntilSet) {
  const Event event;
  EXPECT_EQ(event, (Event{{}, {}, {}, 1, 0, 0}));
  EXPECT_FALSE(event.epoch_based());
}

TEST(Event, WithoutStepsPerEpochHasNoEpoch) {
  const Event event{.global_step = 7};
  EXPECT_EQ(problem_of([&] { event.epoch(); }), "Event is not epoch based");
  EXPECT_EQ(problem_of([&] { event.epoch_full(); }), "Event is not epoch based");
  EXPECT_EQ(problem_of([&] { event.epoch_step(); }), "Event is not epoch based");
  EXPECT_EQ(problem_of([&] { event.epoch_batch(); }), "Event is not epoch based");
  EXPECT_EQ(event.current_index(), 7);
}

TEST(Event, WithoutStepsInAnEpochIsAnErrorNotACrash) {
  Event event{.steps_per_epoch = 0, .batches_per_step = 2};
  EXPECT_TRUE(event.epoch_based());
  const std::string problem = "steps_per_epoch is 0, an epoch without steps";
  EXPECT_EQ(problem_of([&] { event.epoch(); }), problem);
  EXPECT_EQ(problem_of([&] { event.epoch_full(); }), problem);
  EXPECT_EQ(problem_of([&] { event.epoch_step(); }), problem);
  EXPECT_EQ(problem_of([&] { event.epoch_batch(); }), problem);
  EXPECT_EQ(problem_of([&] { event.current_index(); }), problem);
  EXPECT_EQ(problem_of([&] { event.set_current_index(1); }), problem);
  EXPECT_EQ(problem_of([&] { event.should_update({}, {}, {}); }), problem);
}

TEST(Event, CountsEpochsAsPythonDoes) {
  struct Row {
    int64_t step, epoch;
    double full;
    int64_t epoch_step;
  };
  const Row rows[] = {{0, 0, 0.0, 0},  {9, 0, 0.9, 9},    {10, 1, 1.0, 0},   {11, 1, 1.1, 1},
                      {25, 2, 2.5, 5}, {-1, -1, -0.1, 9}, {-11, -2, -1.1, 9}};
  for (const Row& row : rows) {
    const Event event{.steps_per_epoch = 10, .global_step = row.step};
    EXPECT_EQ(event.epoch(), row.epoch) << row.step;
    EXPECT_EQ(event.epoch_full(), row.full) << row.step;
    EXPECT_EQ(event.epoch_step(), row.epoch_step) << row.step;
    EXPECT_EQ(event.current_index(), row.full) << row.step;
  }
}

TEST(Event, CountsBatchesOfAnEpoch) {
  const std::pair<Int, int64_t> rows[] = {{{}, 7}, {0, 7}, {1, 7}, {2, 7}, {3, 27}};
  for (const auto& [batches_per_step, expected] : rows) {
    const Event event{.steps_per_epoch = 10, .batches_per_step = batches_per_step, .global_batch = 27};
    EXPECT_EQ(event.epoch_batch(), expected) << batches_per_step.value_or(-1);
  }
}

RC_GTEST_PROP(Event, EpochsAndStepsMakeUpTheGlobalStep, (int32_t step, int32_t steps_per_epoch)) {
  RC_PRE(steps_per_epoch != 0);
  const Event event{.steps_per_epoch = steps_per_epoch, .global_step = step};
  RC_ASSERT(event.epoch() * steps_per_epoch + event.epoch_step() == step);
  RC_ASSERT(event.epoch_step() == 0 || (event.epoch_step() < 0) == (steps_per_epoch < 0));
  RC_ASSERT(std::abs(event.epoch_step()) < std::abs(int64_t{steps_per_epoch}));
}

TEST(Event, SettingTheIndexTruncatesTowardZero) {
  struct Row {
    double value;
    Int steps_per_epoch, batches_per_step;
    int64_t step, batch;
    double index;
  };
  const Row rows[] = {{3, {}, {}, 3, 3, 3},
                      {3.9, {}, {}, 3, 3, 3},
                      {-1.5, {}, {}, -1, -1, -1},
                      {0.29, {}, {}, 0, 0, 0},
                      {3.9, {}, 0, 3, 3, 3},
                      {3.9, {}, 1, 3, 3, 3},
                      {3.9, {}, 2, 3, 6, 3},
                      {3.9, {}, 4, 3, 12, 3},
                      {0.29, 100, 4, 28, 112, 0.28},
                      {1.0, 100, 4, 100, 400, 1.0},
                      {2.5, 100, 4, 250, 1000, 2.5},
                      {-0.25, 100, 4, -25, -100, -0.25},
                      {1.999, 100, 4, 199, 796, 1.99},
                      {0.3, 10, {}, 3, 3, 0.3},
                      {0.7, 10, {}, 7, 7, 0.7},
                      {1.1, 10, {}, 11, 11, 1.1}};
  for (const Row& row : rows) {
    Event event{.steps_per_epoch = row.steps_per_epoch, .batches_per_step = row.batches_per_step};
    event.set_current_index(row.value);
    EXPECT_EQ(event.global_step, row.step) << row.value;
    EXPECT_EQ(event.global_batch, row.batch) << row.value;
    EXPECT_EQ(event.current_index(), row.index) << row.value;
  }
}

TEST(Event, RefusesAnIndexThatIsNoStep) {
  for (const double value : {kNan, kInf, -kInf, 0x1p63, 1e300}) {
    Event event{.global_step = 3, .global_batch = 3};
    EXPECT_THROW(event.set_current_index(value), Error) << value;
    EXPECT_EQ(event, (Event{.global_step = 3, .global_batch = 3})) << "an error changes nothing";
  }
  Event event{.batches_per_step = 4};
  EXPECT_THROW(event.set_current_index(0x1p62), Error);
  EXPECT_EQ(event, (Event{.batches_per_step = 4}));
  event.set_current_index(-0x1p61);
  EXPECT_EQ(event.global_batch, std::numeric_limits<int64_t>::min());
}

TEST(Event, NumbersBeyond64BitsAreErrors) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min(), kMax = std::numeric_limits<int64_t>::max();
  EXPECT_THROW((Event{.steps_per_epoch = -1, .global_step = kMin}).epoch(), Error);
  EXPECT_EQ((Event{.steps_per_epoch = -1, .global_step = kMin}).epoch_step(), 0);
  EXPECT_EQ((Event{.steps_per_epoch = -1, .global_step = kMax}).epoch(), -kMax);
  EXPECT_THROW((Event{.steps_per_epoch = kMax, .batches_per_step = 2}).epoch_batch(), Error);
}

TEST(Event, NoticesWhenTheEpochIsTooLargeForADouble) {
  // The quotient rounds up by 16 on its way into a double, whose neighbours are that far apart here.
  const Event event{.steps_per_epoch = 3, .global_step = 266008619349217363};
  EXPECT_EQ(problem_of([&] { event.current_index(); }), "Too many steps per epoch for epoch based event");
}

TEST(Event, ShouldUpdateWithinBoundsAtMultiples) {
  struct Row {
    int64_t index;
    Real start, end, interval;
    bool expected;
  };
  const Row rows[] = {{5, {}, {}, {}, true},    {5, {}, {}, 0.0, true},   {5, {}, {}, -1.0, true},
                      {5, 5, 5, 1, true},       {5, 6, {}, {}, false},    {5, {}, 4, {}, false},
                      {5, 0, 10, 2, false},     {4, 0, 10, 2, true},      {5, 0, 10, 2.5, true},
                      {5, {}, {}, 7, false},    {0, {}, {}, 7, true},     {-3, {}, {}, 2, false},
                      {5, {}, {}, kNan, false}, {5, kNan, {}, {}, true},  {5, {}, {}, kInf, false},
                      {0, {}, {}, kInf, true},  {-5, {}, {}, kInf, false}};
  for (const Row& row : rows) {
    const Event event{.global_step = row.index};
    EXPECT_EQ(event.should_update(row.start, row.end, row.interval), row.expected)
        << row.index << " interval " << row.interval.value_or(-99);
  }
}

TEST(Event, ShouldUpdateHasNoToleranceBelowTheMultiple) {
  const std::pair<int64_t, bool> rows[] = {{1, true}, {2, true}, {3, false}, {5, false}, {10, false}, {30, false}};
  for (const auto& [step, expected] : rows) {
    const Event event{.steps_per_epoch = 10, .global_step = step};
    EXPECT_EQ(event.should_update({}, {}, 0.1), expected) << step;
  }
}

TEST(Event, NewInstanceSetsACopyInTheOrderGiven) {
  const Event event{.type = EventType::batch_start, .steps_per_epoch = 10, .global_step = 3};
  Event expected = event;
  expected.global_step = 5;
  EXPECT_EQ(event.new_instance({{"global_step", 5}}), expected);
  EXPECT_EQ(event.global_step, 3);

  const Event index_first = event.new_instance({{"current_index", 2.5}, {"steps_per_epoch", 4}});
  EXPECT_EQ(index_first, (Event{EventType::batch_start, 4, {}, 1, 25, 25}));
  const Event steps_first = event.new_instance({{"steps_per_epoch", 4}, {"current_index", 2.5}});
  EXPECT_EQ(steps_first, (Event{EventType::batch_start, 4, {}, 1, 10, 10}));

  const Event all = event.new_instance({{"type", "optim_pre_step"},
                                        {"steps_per_epoch", std::monostate()},
                                        {"batches_per_step", 2},
                                        {"invocations_per_step", 3},
                                        {"global_batch", 8},
                                        {"current_index", 6},
                                        {"type", EventType::finalize}});
  EXPECT_EQ(all, (Event{EventType::finalize, {}, 2, 3, 6, 12}));
  EXPECT_EQ(event.new_instance({{"type", std::monostate()}}).type, std::nullopt);
  EXPECT_EQ(event.new_instance({}), event);
}

TEST(Event, NewInstanceRefusesUnknownAndDerivedNamesAndWrongKinds) {
  const Event event;
  EXPECT_EQ(problem_of([&] { event.new_instance({{"bogus", 1}}); }), "has no field 'bogus'");
  for (const std::string_view name : {"epoch", "epoch_full", "epoch_step", "epoch_batch", "epoch_based"}) {
    EXPECT_EQ(problem_of([&] { event.new_instance({{name, 2}}); }),
              "'" + std::string(name) + "' is derived and cannot be set");
  }
  EXPECT_EQ(problem_of([&] { event.new_instance({{"global_step", 1.5}}); }),
            "'global_step' cannot hold a value of this kind");
  EXPECT_EQ(problem_of([&] { event.new_instance({{"global_batch", std::monostate()}}); }),
            "'global_batch' cannot hold a value of this kind");
  EXPECT_EQ(problem_of([&] { event.new_instance({{"type", "BATCH_START"}}); }),
            "'BATCH_START' is not a valid EventType");
}

}  // namespace
}  // namespace spinor::lifecycle::event_test
