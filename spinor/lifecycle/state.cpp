#include "spinor/lifecycle/state.h"

namespace spinor::lifecycle {
namespace {

void set_if_given(std::any& field, const std::any& value) {
  if (value.has_value()) field = value;
}

void set_data(SharedData& field, const SharedData& given, const StateUpdate& update) {
  if (!given) return;
  field = update.copy_data ? std::make_shared<std::any>(*given) : given;
}

std::shared_ptr<LoggerManager> manager_of(const StateUpdate& update) {
  if (const auto* list = std::get_if<std::vector<std::shared_ptr<BaseLogger>>>(&update.loggers)) {
    return std::make_shared<LoggerManager>(*list);
  }
  const auto* given = std::get_if<std::shared_ptr<LoggerManager>>(&update.loggers);
  // An empty manager counts as none given, as in llm-compressor.
  if (given != nullptr && *given != nullptr && !(*given)->loggers().empty()) return *given;
  return std::make_shared<LoggerManager>();
}

}  // namespace

ExtraArguments State::update(const StateUpdate& update, ExtraArguments extra) {
  if (update.model != nullptr) model = update.model;
  if (update.plan != nullptr) plan = update.plan;
  set_if_given(teacher_model, update.teacher_model);
  if (update.optimizer.has_value()) {
    optim_wrapped = update.attach_optim_callbacks;
    optimizer = update.optimizer;
  }
  set_data(data.train, update.train_data, update);
  set_data(data.val, update.val_data, update);
  set_data(data.test, update.test_data, update);
  set_data(data.calib, update.calib_data, update);
  if (const auto device = extra.find("device"); device != extra.end()) hardware.device = device->second;
  loggers = manager_of(update);
  if (update.model_log_cadence) model_log_cadence = update.model_log_cadence;
  return extra;
}

void State::warn(std::string text) {
  if (loggers) loggers->log_string("warning", text);
  warnings.push_back(std::move(text));
}

}  // namespace spinor::lifecycle
