#include "python/src/work.h"

#include <algorithm>
#include <utility>

#include "cli/command_line.h"

namespace spinor::python {

Work::Work(std::vector<std::string> words)
    : thread_([this, words = std::move(words)](std::stop_token stop) mutable { run(std::move(words), stop); }) {}

void Work::run(std::vector<std::string> words, std::stop_token stop) {
  cli::CommandLine line;
  cli::Context context;
  context.stop = std::move(stop);
  context.progress = [this](const std::string& what, int64_t done, int64_t all) { say(Progress{what, done, all}); };
  context.warn = [this](const std::string& text) { say(Message{"warn", text}); };
  context.log = [this](const std::string& text) { say(Message{"log", text}); };
  Outcome outcome;
  try {
    std::ranges::reverse(words);  // as CLI11 wants them
    line.app().parse(std::move(words));
    outcome = line.run(context);
  } catch (...) {
    outcome = cli::failure_of(std::current_exception(), line.out_of_memory());
  }
  const std::lock_guard lock(mutex_);
  outcome_ = std::move(outcome);
  done_ = true;
  said_.notify_all();
}

void Work::say(Event event) {
  const std::lock_guard lock(mutex_);
  auto* now = std::get_if<Progress>(&event);
  auto* before = events_.empty() ? nullptr : std::get_if<Progress>(&events_.back());
  if (now && before && now->what == before->what)
    *before = std::move(*now);
  else
    events_.push_back(std::move(event));
}

bool Work::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  said_.wait_for(lock, time, [this] { return done_; });  // wait() would ask for a newer libstdc++
  return done_;
}

std::vector<Event> Work::take_events() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

}  // namespace spinor::python
