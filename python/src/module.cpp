// spinor._core: the commands for Python. What is convenient about them is written in Python (python/spinor).
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <csignal>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/program.h"
#include "python/src/memory.h"
#include "python/src/recipes.h"
#include "python/src/run.h"
#include "spinor/base/version.h"

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

nb::tuple run(const nb::list& words, const nb::callable& listener) {
  return run_to_its_end(command_task(words_of(words)), listener);
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
  define_memory(module);
  define_recipes(module);
  module.def("options", &options, "The commands and their options, as JSON.");
}
