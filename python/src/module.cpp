// spinor._core: the commands for Python. What is convenient about them is written in Python (python/spinor).
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/program.h"
#include "python/src/work.h"
#include "spinor/base/version.h"
#include "spinor/tokenizer/utf8.h"

namespace nb = nanobind;

namespace spinor::python {
namespace {

// Paths are bytes: they need not be text.
std::vector<std::string> words_of(const nb::list& list) {
  std::vector<std::string> words;
  for (const nb::handle item : list) {
    const auto bytes = nb::cast<nb::bytes>(item);
    words.emplace_back(bytes.c_str(), bytes.size());
  }
  return words;
}

// Text of files and paths may be anything.
nb::str text(const std::string& bytes) {
  const std::string repaired = tokenizer::repair_utf8(bytes);
  return nb::str(repaired.data(), repaired.size());
}

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

// Python's signal handlers run on its main thread, when that asks. Whatever they or the listener raise stops the work
// first: nobody waits for it any more.
nb::tuple run(const nb::list& words, const nb::callable& listener) {
  constexpr std::chrono::milliseconds kPatience(100);
  std::optional<Work> work(std::in_place, words_of(words));
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

// In a program of its own, though Python started it: Ctrl-C and a closed pipe end it as they end others.
int run_main(const nb::list& words, const nb::bytes& torch_program, const std::string& torch_hint) {
  std::vector<std::string> arguments = words_of(words);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const cli::TorchProgram torch{std::string(torch_program.c_str(), torch_program.size()), torch_hint};
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
  const nb::gil_scoped_release nobody_else;
  return cli::run_program(static_cast<int>(arguments.size()), pointers.data(), torch);
}

nb::str options() {
  return text(cli::json_text(cli::options_json(cli::CommandLine())));
}

}  // namespace
}  // namespace spinor::python

NB_MODULE(_core, module) {
  using namespace spinor::python;
  module.attr("version") = text(std::string(spinor::kVersion));
  module.def(
      "run", &run, nb::arg("words"), nb::arg("listener"),
      "Runs a command. The listener is called as listener(\"progress\", what, done, all), (\"warn\", text) or "
      "(\"log\", text). Returns (\"done\", json, text, problem), or (kind, subject, problem, hint) if it failed, "
      "kind being usage, input, system or torch.");
  module.def("main", &run_main, nb::arg("words"), nb::arg("torch_program"), nb::arg("torch_hint"),
             "The command line program. Returns its exit code.");
  module.def("options", &options, "The commands and their options, as JSON.");
}
