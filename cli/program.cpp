#include "cli/program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "cli/command_line.h"
#include "cli/events.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "spinor/base/error.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::cli {
namespace {

// A message may quote a file that is not text.
void print_error(const std::string& text) {
  fmt::print(stderr, "error: {}\n", tokenizer::repair_utf8(text));
}

[[noreturn]] void become(const TorchProgram& program, char** argv) {
  execv(program.path.c_str(), argv);
  throw Error(program.path.string(), std::string("cannot be started: ") + std::strerror(errno),
              errno == ENOENT ? program.hint : "");
}

int print_options(const CommandLine& line) {
  write_output(json_text(options_json(line)));
  finish_output();
  return 0;
}

int run_chosen(CommandLine& line) {
  Result result;
  {
    Terminal terminal(!line.has_flag("--quiet") && !line.has_flag("--json"));
    result = line.run(terminal.context());
  }
  write_output(result.text);
  if (!result.problem.empty()) print_error(result.problem);
  finish_output();
  return result.problem.empty() ? 0 : 1;
}

}  // namespace

int run_program(int argc, char** argv, const TorchProgram& torch) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--events") return run_events(argc - 1, argv + 1);
  CommandLine line;
  if (first == "--options") return print_options(line);
  try {
    line.app().parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (line.app().exit(error) != 0) return 2;
    line.choose([](const Context&) { return Result(); });  // help, or the version
  }
  try {
    try {
      return run_chosen(line);
    } catch (const NeedsTorch&) {
      become(torch, argv);
    }
  } catch (const std::bad_alloc&) {
    print_error(line.out_of_memory());
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return 1;
}

}  // namespace spinor::cli
