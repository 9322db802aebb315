// Where modifiers report what they do. The library ships no logger: a program gives its own to State::update.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace spinor::lifecycle {

class BaseLogger {
 public:
  virtual ~BaseLogger() = default;
  virtual void log_string(std::string_view tag, std::string_view text, std::optional<double> step) = 0;
  virtual void log_scalar(std::string_view tag, double value, std::optional<double> step) = 0;
};

// Passes everything on to each of its loggers, in their order. Loggers are shared: the program that made them reads
// them.
class LoggerManager {
 public:
  LoggerManager() = default;
  explicit LoggerManager(std::vector<std::shared_ptr<BaseLogger>> loggers) : loggers_(std::move(loggers)) {}

  const std::vector<std::shared_ptr<BaseLogger>>& loggers() const { return loggers_; }

  void log_string(std::string_view tag, std::string_view text, std::optional<double> step = {}) const {
    for (const auto& logger : loggers_) logger->log_string(tag, text, step);
  }
  void log_scalar(std::string_view tag, double value, std::optional<double> step = {}) const {
    for (const auto& logger : loggers_) logger->log_scalar(tag, value, step);
  }

 private:
  std::vector<std::shared_ptr<BaseLogger>> loggers_;
};

}  // namespace spinor::lifecycle
