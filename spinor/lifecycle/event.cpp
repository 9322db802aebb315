#include "spinor/lifecycle/event.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cmath>

#include "spinor/base/error.h"

namespace spinor::lifecycle {
namespace {

constexpr std::array kTypes = {EventType::initialize,
                               EventType::finalize,
                               EventType::batch_start,
                               EventType::loss_calculated,
                               EventType::batch_end,
                               EventType::calibration_epoch_start,
                               EventType::sequential_epoch_end,
                               EventType::calibration_epoch_end,
                               EventType::optim_pre_step,
                               EventType::optim_post_step};
constexpr std::array<std::string_view, kTypes.size()> kNames = {"initialize",
                                                                "finalize",
                                                                "batch_start",
                                                                "loss_calculated",
                                                                "batch_end",
                                                                "calibration_epoch_start",
                                                                "sequential_epoch_end",
                                                                "calibration_epoch_end",
                                                                "optim_pre_step",
                                                                "optim_post_step"};

[[noreturn]] void too_large(std::string_view what) {
  throw Error("Event", fmt::format("{} does not fit into 64 bits", what));
}

int64_t checked_product(int64_t a, int64_t b, std::string_view what) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) too_large(what);
  return product;
}

// Python's //. The one quotient that overflows is that of the smallest integer and -1.
int64_t floor_div(int64_t a, int64_t b) {
  if (b == -1) return checked_product(a, -1, "epoch");
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

// Python's %: the sign of the divisor.
int64_t floor_mod(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// The same for b > 0; b may be inf or nan.
double floor_mod(double a, double b) {
  const double rest = std::fmod(a, b);
  return rest < 0 ? rest + b : rest;
}

int64_t truncated(double value) {
  // Both bounds are exact: -2^63 is an int64, 2^63 is the first double beyond.
  if (!(value >= -0x1p63 && value < 0x1p63)) {
    throw Error("Event", fmt::format("current_index leads to step {}, which is not a 64-bit integer", value));
  }
  return static_cast<int64_t>(value);
}

int64_t epoch_length(const Event& event) {
  if (!event.epoch_based()) throw Error("Event", "Event is not epoch based", "set steps_per_epoch");
  if (*event.steps_per_epoch == 0) throw Error("Event", "steps_per_epoch is 0, an epoch without steps");
  return *event.steps_per_epoch;
}

// One field new_instance() can set. The setters throw bad_variant_access for a value of the wrong kind.
struct Field {
  std::string_view name;
  void (*set)(Event&, const EventValue&);
};

std::optional<int64_t> optional_integer(const EventValue& value) {
  if (std::holds_alternative<std::monostate>(value)) return {};
  return std::get<int64_t>(value);
}

std::optional<EventType> optional_type(const EventValue& value) {
  if (std::holds_alternative<std::monostate>(value)) return {};
  if (const auto* name = std::get_if<std::string_view>(&value)) return event_type_from(*name);
  return std::get<EventType>(value);
}

double real(const EventValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  return std::get<double>(value);
}

constexpr Field kFields[] = {
    {"type", [](Event& e, const EventValue& v) { e.type = optional_type(v); }},
    {"steps_per_epoch", [](Event& e, const EventValue& v) { e.steps_per_epoch = optional_integer(v); }},
    {"batches_per_step", [](Event& e, const EventValue& v) { e.batches_per_step = optional_integer(v); }},
    {"invocations_per_step", [](Event& e, const EventValue& v) { e.invocations_per_step = std::get<int64_t>(v); }},
    {"global_step", [](Event& e, const EventValue& v) { e.global_step = std::get<int64_t>(v); }},
    {"global_batch", [](Event& e, const EventValue& v) { e.global_batch = std::get<int64_t>(v); }},
    {"current_index", [](Event& e, const EventValue& v) { e.set_current_index(real(v)); }},
};

constexpr std::string_view kDerived[] = {"epoch_based", "epoch", "epoch_full", "epoch_step", "epoch_batch"};

const Field& find_field(std::string_view name) {
  for (const Field& field : kFields) {
    if (field.name == name) return field;
  }
  for (const std::string_view derived : kDerived) {
    if (derived == name) {
      throw Error("Event", fmt::format("'{}' is derived and cannot be set", name), "set global_step or current_index");
    }
  }
  throw Error("Event", fmt::format("has no field '{}'", name));
}

}  // namespace

std::span<const EventType> event_types() {
  return kTypes;
}

std::string_view name_of(EventType type) {
  return kNames[static_cast<size_t>(type)];
}

EventType event_type_from(std::string_view name) {
  for (const EventType type : kTypes) {
    if (name_of(type) == name) return type;
  }
  throw Error("EventType", fmt::format("'{}' is not a valid EventType", name),
              fmt::format("one of {}", fmt::join(kNames, ", ")));
}

int64_t Event::epoch() const {
  return floor_div(global_step, epoch_length(*this));
}

double Event::epoch_full() const {
  return static_cast<double>(global_step) / static_cast<double>(epoch_length(*this));
}

int64_t Event::epoch_step() const {
  return floor_mod(global_step, epoch_length(*this));
}

int64_t Event::epoch_batch() const {
  const int64_t steps = epoch_length(*this);
  const int64_t batches = batches_per_step.value_or(0);
  return floor_mod(global_batch, batches == 0 ? steps : checked_product(steps, batches, "the batches of an epoch"));
}

double Event::current_index() const {
  if (!epoch_based()) return static_cast<double>(global_step);
  const double full = epoch_full();
  if (full - static_cast<double>(epoch()) > 1.0) {
    throw Error("Event", "Too many steps per epoch for epoch based event");
  }
  return full;
}

void Event::set_current_index(double index) {
  const int64_t step = truncated(epoch_based() ? index * static_cast<double>(epoch_length(*this)) : index);
  const int64_t batches = batches_per_step.value_or(1);
  global_batch = batches < 2 ? step : checked_product(step, batches, "global_batch");
  global_step = step;
}

bool Event::should_update(std::optional<double> start, std::optional<double> end,
                          std::optional<double> interval) const {
  const double index = current_index();
  if (start && index < *start) return false;
  if (end && index > *end) return false;
  return !interval || *interval <= 0 || floor_mod(index, *interval) < 1e-10;
}

Event Event::new_instance(std::span<const EventChange> changes) const {
  Event copy = *this;
  for (const auto& [name, value] : changes) {
    const Field& field = find_field(name);
    try {
      field.set(copy, value);
    } catch (const std::bad_variant_access&) {
      throw Error("Event", fmt::format("'{}' cannot hold a value of this kind", name));
    }
  }
  return copy;
}

}  // namespace spinor::lifecycle
