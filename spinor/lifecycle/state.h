// What the modifiers of a recipe work on. Everything is absent until update() gives it.
#pragma once

#include <any>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "spinor/lifecycle/logger.h"
#include "spinor/plan/plan.h"

namespace spinor::lifecycle {

// Arguments by name that spinor does not know: a program hands them to the hooks of its own modifiers.
using ExtraArguments = std::map<std::string, std::any>;

// Data of any type. Shared because the caller may keep it (copy_data = false): then both see one object.
using SharedData = std::shared_ptr<std::any>;

struct Data {
  SharedData train, val, test, calib;
};

struct Hardware {
  std::any device;
};

// Arguments of State::update, each absent unless set.
struct StateUpdate {
  const Model* model = nullptr;
  RewritePlan* plan = nullptr;
  std::any teacher_model = {}, optimizer = {};
  bool attach_optim_callbacks = true;  // becomes optim_wrapped, when an optimizer is given
  SharedData train_data = {}, val_data = {}, test_data = {}, calib_data = {};
  bool copy_data = true;  // the state gets objects of its own
  // For llm-compressor's signature; accepted without effect.
  std::optional<double> start = {};
  std::optional<int64_t> steps_per_epoch = {}, batches_per_step = {};
  std::variant<std::monostate, std::shared_ptr<LoggerManager>, std::vector<std::shared_ptr<BaseLogger>>> loggers = {};
  std::optional<double> model_log_cadence = {};  // epochs from one log of the model to the next
};

struct State {
  const Model* model = nullptr;  // not owned, as the plan
  RewritePlan* plan = nullptr;   // where modifiers write what they want
  std::any teacher_model, optimizer;
  std::optional<bool> optim_wrapped;
  std::any loss, batch_data;
  Data data;
  Hardware hardware;
  std::shared_ptr<LoggerManager> loggers;  // shared: a manager given to update() stays the caller's, too
  std::optional<double> model_log_cadence;
  std::vector<std::string> warnings;  // what modifiers want the user to read

  bool compression_ready() const { return model != nullptr && optimizer.has_value(); }

  // What is absent from the update changes nothing, except the loggers: they are replaced at every call, by an empty
  // manager when none is given. extra["device"] is stored as the device, even when empty. Returns extra.
  ExtraArguments update(const StateUpdate& update, ExtraArguments extra = {});
  // Adds to warnings, and logs it under the tag "warning".
  void warn(std::string text);
};

}  // namespace spinor::lifecycle
