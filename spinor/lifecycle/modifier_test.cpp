// The values were obtained by running llm-compressor's Modifier.
#include "spinor/lifecycle/modifier.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "spinor/base/error.h"

namespace spinor::lifecycle::modifier_test {
namespace {

using Lines = std::vector<std::string>;
using Real = std::optional<double>;

static_assert(std::is_abstract_v<Modifier>, "on_initialize has to be written");

// Notes what is called, with what, and whether it counted as started (ended) at that moment.
class Recorder : public Modifier {
 public:
  Recorder() = default;
  Recorder(Real start, Real end) {
    fields.start = start;
    fields.end = end;
  }
  std::string name() const override { return "Recorder"; }

  Lines log;
  bool initializes = true, finalizes = true, log_events = true, starts_itself = false;

 protected:
  bool on_initialize(State&, const ExtraArguments& extra) override {
    log.push_back("init" + keys(extra));
    return initializes;
  }
  bool on_finalize(State&, const ExtraArguments& extra) override {
    log.push_back("fin" + keys(extra));
    return finalizes;
  }
  void on_start(State&, const Event* event, const ExtraArguments& extra) override {
    log.push_back("start " + text(*event) + " " + std::to_string(event->global_step) + keys(extra) +
                  (started() ? " again" : ""));
  }
  void on_end(State&, const Event* event, const ExtraArguments& extra) override {
    log.push_back("end " + text(*event) + keys(extra) + (ended() ? " again" : ""));
  }
  void on_update(State&, const Event& event, const ExtraArguments& extra) override {
    log.push_back("update " + text(event) + keys(extra));
  }
  void on_event(State&, const Event& event, const ExtraArguments& extra) override {
    if (log_events) log.push_back("event " + text(event) + keys(extra));
    if (starts_itself) set_started();
  }

 private:
  static std::string text(const Event& event) { return event.type ? std::string(name_of(*event.type)) : "none"; }
  static std::string keys(const ExtraArguments& extra) {
    std::string result;
    for (const auto& [key, value] : extra) result += " " + key + "=" + std::to_string(std::any_cast<int>(value));
    return result;
  }
};

template <typename Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

Event event_of(EventType type, int64_t step = 0) {
  return {.type = type, .global_step = step};
}

TEST(Modifier, HasNoFieldsUntilSet) {
  const Recorder modifier;
  EXPECT_FALSE(modifier.fields.index || modifier.fields.group || modifier.fields.start || modifier.fields.end ||
               modifier.fields.update || modifier.fields.requires_calibration_data);
  EXPECT_FALSE(modifier.initialized() || modifier.finalized() || modifier.started() || modifier.ended());
}

TEST(Modifier, SaysWhatIsOutOfOrder) {
  State state;
  Recorder modifier;
  const Event event = event_of(EventType::batch_start);
  EXPECT_EQ(message_of([&] { modifier.update_event(state, event); }),
            "Recorder: Cannot update an uninitialized modifier");
  EXPECT_EQ(message_of([&] { modifier.finalize(state); }), "Recorder: cannot finalize an uninitialized modifier");
  modifier.initialize(state, {{"a", 1}});
  EXPECT_EQ(modifier.log, Lines{"init a=1"}) << "without start nothing starts";
  EXPECT_EQ(message_of([&] { modifier.initialize(state); }),
            "Recorder: Cannot initialize a modifier that has already been initialized");
  modifier.finalize(state, {{"b", 2}});
  EXPECT_TRUE(modifier.finalized());
  EXPECT_EQ(message_of([&] { modifier.finalize(state); }), "Recorder: cannot finalize a modifier twice");
  EXPECT_EQ(message_of([&] { modifier.initialize(state); }),
            "Recorder: Cannot initialize a modifier that has already been initialized");
  EXPECT_EQ(message_of([&] { modifier.update_event(state, event); }), "Recorder: Cannot update a finalized modifier");
  EXPECT_EQ(modifier.log, (Lines{"init a=1", "fin b=2"})) << "a refused call reaches no hook";
}

TEST(Modifier, MayBeInitializedAgainAfterAFailure) {
  State state;
  Recorder modifier(0, {});
  modifier.initializes = false;
  modifier.initialize(state);
  EXPECT_FALSE(modifier.initialized());
  EXPECT_TRUE(modifier.started());
  EXPECT_EQ(modifier.log, (Lines{"init", "start batch_start 0"}));
  modifier.initialize(state);
  EXPECT_EQ(modifier.log, (Lines{"init", "start batch_start 0", "init", "start batch_start 0 again"}));
}

TEST(Modifier, MayBeFinalizedAgainAfterAFailure) {
  State state;
  Recorder modifier;
  modifier.finalizes = false;
  modifier.initialize(state);
  modifier.finalize(state);
  EXPECT_FALSE(modifier.finalized());
  modifier.finalize(state);
  EXPECT_FALSE(modifier.finalized());
  EXPECT_EQ(modifier.log, (Lines{"init", "fin", "fin"}));
}

TEST(Modifier, StartsAtInitializeWhenActiveAtStepZero) {
  struct Row {
    Real start, end;
    bool started;
  };
  const Row rows[] = {{0, {}, true},  {0, 0, false},   {0, 1, true},    {-1, {}, true},
                      {1, {}, false}, {{}, {}, false}, {0.0, 0.5, true}};
  for (const Row& row : rows) {
    State state;
    Recorder modifier(row.start, row.end);
    modifier.initialize(state, {{"a", 1}});
    EXPECT_EQ(modifier.started(), row.started) << row.start.value_or(-9) << " " << row.end.value_or(-9);
    EXPECT_EQ(modifier.log, row.started ? (Lines{"init a=1", "start batch_start 0 a=1"}) : Lines{"init a=1"});
  }
}

TEST(Modifier, StartsUpdatesAndEndsByTheIndex) {
  const Lines all = {"update batch_start", "update loss_calculated", "update optim_pre_step", "update optim_post_step",
                     "update batch_end"};
  Lines first = all, last = all;
  first.insert(first.begin(), "start batch_start 2");
  last.insert(last.end() - 1, "end batch_end");
  const Lines expected[] = {{}, {}, first, all, last, {}};

  State state;
  Recorder modifier(2, 4);
  modifier.log_events = false;
  modifier.initialize(state);
  for (int64_t step = 0; step < 6; ++step) {
    modifier.log.clear();
    for (const EventType type : {EventType::batch_start, EventType::loss_calculated, EventType::optim_pre_step,
                                 EventType::optim_post_step, EventType::batch_end}) {
      modifier.update_event(state, event_of(type, step));
    }
    EXPECT_EQ(modifier.log, expected[step]) << step;
  }
  EXPECT_TRUE(modifier.started() && modifier.ended());
}

TEST(Modifier, HooksFollowTheEventInThisOrder) {
  struct Row {
    const char* what;
    Real start, end;
    EventType type;
    int64_t step;
    Lines log;
    bool started, ended;
  };
  const Row rows[] = {
      {"ends although it never started",
       {},
       1,
       EventType::batch_end,
       3,
       {"event batch_end", "end batch_end", "update batch_end"},
       false,
       true},
      {"starts only at batch_start", 1, {}, EventType::batch_end, 3, {"event batch_end"}, false, false},
      {"never starts when it ends first", 2, 1, EventType::batch_start, 3, {"event batch_start"}, false, false},
      {"an end counts from its index on", 1, 3, EventType::batch_start, 3, {"event batch_start"}, false, false},
  };
  for (const Row& row : rows) {
    State state;
    Recorder modifier(row.start, row.end);
    modifier.initialize(state);
    modifier.log.clear();
    modifier.update_event(state, event_of(row.type, row.step));
    EXPECT_EQ(modifier.log, row.log) << row.what;
    EXPECT_EQ(modifier.started(), row.started) << row.what;
    EXPECT_EQ(modifier.ended(), row.ended) << row.what;
  }
}

TEST(Modifier, UpdatesAtEveryTypeOnceStarted) {
  State state;
  Recorder modifier;
  modifier.fields.update = 100;
  modifier.starts_itself = true;
  modifier.initialize(state);
  for (const EventType type : event_types()) {
    modifier.log.clear();
    modifier.update_event(state, event_of(type, 1), {{"k", 7}});
    const std::string name(name_of(type));
    EXPECT_EQ(modifier.log, (Lines{"event " + name + " k=7", "update " + name + " k=7"}))
        << "the interval is the hooks' own business, and on_event may start the modifier";
  }
  modifier.log.clear();
  modifier.update_event(state, Event{});
  EXPECT_EQ(modifier.log, (Lines{"event none", "update none"})) << "the type may be unset";
}

TEST(Modifier, CountsEpochsWhenTheEventDoes) {
  const Recorder modifier(0.5, 1.5);
  const Event early{.steps_per_epoch = 10, .global_step = 4}, inside{.steps_per_epoch = 10, .global_step = 5},
      late{.steps_per_epoch = 10, .global_step = 15};
  EXPECT_FALSE(modifier.should_start(early));
  EXPECT_TRUE(modifier.should_start(inside));
  EXPECT_FALSE(modifier.should_end(inside));
  EXPECT_FALSE(modifier.should_start(late));
  EXPECT_TRUE(modifier.should_end(late));
}

class Thrower : public Recorder {
 protected:
  void on_start(State&, const Event*, const ExtraArguments&) override { throw Error("x", "cannot start"); }
};

TEST(Modifier, HasNotStartedWhenOnStartFails) {
  State state;
  Thrower modifier;
  modifier.fields.start = 0;
  EXPECT_EQ(message_of([&] { modifier.initialize(state); }), "x: cannot start");
  EXPECT_TRUE(modifier.initialized());
  EXPECT_FALSE(modifier.started());
}

}  // namespace
}  // namespace spinor::lifecycle::modifier_test
