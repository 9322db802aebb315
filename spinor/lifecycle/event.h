// Events of a model's compression, and where in it they happen: steps, batches, epochs. The arithmetic is Python's
// (// and % are floored), because recipes and modifiers of llm-compressor rely on it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

namespace spinor::lifecycle {

enum class EventType {
  initialize,
  finalize,  // training
  batch_start,
  loss_calculated,
  batch_end,  // one batch
  calibration_epoch_start,
  sequential_epoch_end,
  calibration_epoch_end,
  optim_pre_step,
  optim_post_step  // one step of an optimizer
};

std::span<const EventType> event_types();
std::string_view name_of(EventType type);          // "batch_start"
EventType event_type_from(std::string_view name);  // exactly as printed; Error listing the nearest for anything else

// The value of a field of an Event: nothing, a type (or its name), an integer, or a real for current_index.
using EventValue = std::variant<std::monostate, EventType, std::string_view, int64_t, double>;
using EventChange = std::pair<std::string_view, EventValue>;

struct Event {
  std::optional<EventType> type = {};
  std::optional<int64_t> steps_per_epoch = {};   // set, even to 0: the event is epoch based
  std::optional<int64_t> batches_per_step = {};  // unset or 0 count as 1
  int64_t invocations_per_step = 1;              // of an optimizer's wrapper; enters no formula
  int64_t global_step = 0;
  int64_t global_batch = 0;

  bool operator==(const Event&) const = default;

  bool epoch_based() const { return steps_per_epoch.has_value(); }
  // Error "Event is not epoch based" unless epoch_based(); Error when steps_per_epoch is 0.
  int64_t epoch() const;        // global_step // steps_per_epoch
  double epoch_full() const;    // global_step / steps_per_epoch
  int64_t epoch_step() const;   // global_step % steps_per_epoch
  int64_t epoch_batch() const;  // global_batch % batches of an epoch

  // epoch_full() of an epoch based event, else global_step.
  double current_index() const;
  // Sets global_step to index (times steps_per_epoch when epoch based) truncated toward zero, and global_batch to
  // match. Error for nan, inf and what an int64 cannot hold.
  void set_current_index(double index);

  // start <= current_index() <= end, and current_index() is a multiple of interval (floored modulo below 1e-10: 1.0 is
  // no multiple of 0.1). An unset bound is no bound; an unset interval, or one <= 0, is met by every index.
  bool should_update(std::optional<double> start, std::optional<double> end, std::optional<double> interval) const;

  // A copy with fields set by name in the order given: type, steps_per_epoch, batches_per_step, invocations_per_step,
  // global_step, global_batch, or current_index. Error for unknown and derived names and values of the wrong kind.
  Event new_instance(std::span<const EventChange> changes) const;
  Event new_instance(std::initializer_list<EventChange> changes) const {
    return new_instance(std::span<const EventChange>(changes.begin(), changes.size()));
  }
};

}  // namespace spinor::lifecycle
