#include "cli/events.h"

#include <chrono>
#include <mutex>

#include "cli/command_line.h"
#include "cli/failure.h"
#include "cli/terminal.h"

namespace spinor::cli {
namespace {

class EventLines {
 public:
  void write(const Json& event) {
    const std::lock_guard lock(mutex_);
    write_output(event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    finish_output();
  }

  Context context() {
    Context context;
    context.progress = [this](const std::string& what, int64_t done, int64_t all) { show(what, done, all); };
    context.warn = [this](const std::string& text) { write({"warn", text}); };
    context.log = [this](const std::string& text) { write({"log", text}); };
    context.stream = [this](const std::string& text) {
      write({"stream", text});
      return true;
    };
    return context;
  }

 private:
  void show(const std::string& what, int64_t done, int64_t all) {
    constexpr auto kInterval = std::chrono::milliseconds(100);
    if (done < all && std::chrono::steady_clock::now() - last_ < kInterval) return;
    last_ = std::chrono::steady_clock::now();
    write({"progress", what, done, all});
  }

  std::mutex mutex_;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace

int run_events(int argc, char** argv) {
  EventLines events;
  CommandLine line;
  try {
    line.app().parse(argc, argv);
    const Result result = line.run(events.context());
    events.write({"done", result.json, result.text, result.problem});
    return 0;
  } catch (...) {
    const Failure failure = failure_of(std::current_exception(), line.out_of_memory());
    events.write({failure.kind, failure.subject, failure.problem, failure.hint});
    return 1;
  }
}

}  // namespace spinor::cli
