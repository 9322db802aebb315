#include "python/src/work.h"

#include <exception>
#include <utility>

#include "cli/command_line.h"

namespace spinor::python {

Task command_task(std::vector<std::string> words) {
  return [words = std::move(words)](const cli::Context& context) -> Outcome {
    cli::CommandLine line;
    try {
      line.app().parse(std::vector<std::string>(words.rbegin(), words.rend()));  // as CLI11 wants them
      return line.run(context);
    } catch (...) {
      return cli::failure_of(std::current_exception(), line.out_of_memory());
    }
  };
}

Task task(std::function<cli::Result(const cli::Context&)> work) {
  return [work = std::move(work)](const cli::Context& context) -> Outcome {
    try {
      return work(context);
    } catch (...) {
      return cli::failure_of(std::current_exception(), "out of memory; use fewer threads");
    }
  };
}

Work::Work(Task task) : thread_([this, task = std::move(task)](std::stop_token stop) { run(task, std::move(stop)); }) {}

void Work::run(const Task& task, std::stop_token stop) {
  cli::Context context;
  context.stop = std::move(stop);
  context.progress = [this](const std::string& what, int64_t done, int64_t all) { say(Progress{what, done, all}); };
  context.warn = [this](const std::string& text) { say(Message{"warn", text}); };
  context.log = [this](const std::string& text) { say(Message{"log", text}); };
  Outcome outcome = task(context);
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
