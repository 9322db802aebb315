// Work that is done on a thread of its own, so that the caller's can look after signals and callbacks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "cli/command.h"
#include "cli/failure.h"

namespace spinor::python {

struct Progress {
  std::string what;
  int64_t done = 0, all = 0;
};
struct Message {
  std::string kind, text;  // "warn" or "log"
};
using Event = std::variant<Progress, Message>;
using Outcome = std::variant<cli::Result, cli::Failure>;

using Task = std::function<Outcome(const cli::Context&)>;
// A command, "rotate MODEL OUT --seed=7", a word each.
Task command_task(std::vector<std::string> words);
// What takes no command line. Its exceptions become failures.
Task task(std::function<cli::Result(const cli::Context&)> work);

class Work {
 public:
  explicit Work(Task task);  // starts it
  ~Work() = default;         // asks it to stop, and waits
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // Waits until it is done or the time is over. True: it is done.
  bool wait(std::chrono::milliseconds time);
  // What was said since the last call, of each thing's progress only the last.
  std::vector<Event> take_events();
  void stop() { thread_.request_stop(); }
  Outcome& outcome() { return outcome_; }  // once it is done

 private:
  void run(const Task& task, std::stop_token stop);
  void say(Event event);

  std::mutex mutex_;
  std::condition_variable said_;
  std::vector<Event> events_;
  bool done_ = false;
  Outcome outcome_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace spinor::python
