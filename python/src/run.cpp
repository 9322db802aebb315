#include "python/src/run.h"

#include <chrono>
#include <optional>
#include <utility>

#include "spinor/tokenizer/utf8.h"

namespace spinor::python {
namespace {

void tell(const nb::callable& listener, const Event& event) {
  if (const auto* progress = std::get_if<Progress>(&event))
    listener("progress", text(progress->what), progress->done, progress->all);
  else
    listener(std::get<Message>(event).kind, text(std::get<Message>(event).text));
}

nb::tuple tuple_of(const Outcome& outcome) {
  if (const auto* failure = std::get_if<cli::Failure>(&outcome))
    return nb::make_tuple(failure->kind, text(failure->subject), text(failure->problem), text(failure->hint));
  const auto& result = std::get<cli::Result>(outcome);
  return nb::make_tuple("done", text(cli::json_text(result.json)), text(result.text), text(result.problem));
}

}  // namespace

nb::str text(const std::string& bytes) {
  const std::string repaired = tokenizer::repair_utf8(bytes);
  return nb::str(repaired.data(), repaired.size());
}

nb::tuple run_to_its_end(Task task, const nb::callable& listener) {
  constexpr std::chrono::milliseconds kPatience(100);
  std::optional<Work> work(std::in_place, std::move(task));
  try {
    for (bool done = false; !done;) {
      {
        const nb::gil_scoped_release others_run;
        done = work->wait(kPatience);
      }
      for (const Event& event : work->take_events()) tell(listener, event);
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    }
    return tuple_of(work->outcome());
  } catch (...) {
    const nb::gil_scoped_release others_run;
    work.reset();
    throw;
  }
}

nb::tuple run_at_once(const std::function<Json()>& work) {
  return tuple_of(task([&](const cli::Context&) { return cli::Result{work(), "", ""}; })(cli::Context()));
}

}  // namespace spinor::python
