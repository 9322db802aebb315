// A progress bar on a terminal: bytes, rate, time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace spinor::cli {

class Progress {
 public:
  // Draws on stderr if that is a terminal and `enabled`; otherwise does nothing.
  Progress(std::string title, bool enabled);
  ~Progress();  // clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(int64_t done, int64_t total);

 private:
  double seconds() const;  // since construction

  using Clock = std::chrono::steady_clock;
  std::string title_;
  bool draw_;
  Clock::time_point start_ = Clock::now(), last_{};
  int64_t first_ = -1;  // what was done already at the first call, by an earlier run
};

// A bar for each thing that takes long, one after the other.
class Bars {
 public:
  explicit Bars(bool enabled) : enabled_(enabled) {}
  void show(const std::string& what, int64_t done, int64_t total);

 private:
  bool enabled_;
  std::string what_;
  std::optional<Progress> bar_;
};

}  // namespace spinor::cli
