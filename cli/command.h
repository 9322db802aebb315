// A command: a row of the table in program.cpp. It computes a result and prints nothing; whoever runs it, the program
// or the Python module, decides what becomes of it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "spinor/base/json.h"

namespace spinor::cli {

// Whom a command tells what happens while it runs.
struct Context {
  // What takes long, and how far it is. From one thread at a time, not always the one that runs the command.
  std::function<void(const std::string& what, int64_t done, int64_t all)> progress = [](const auto&, auto, auto) {};
  std::function<void(const std::string&)> warn = [](const std::string&) {};
  std::function<void(const std::string&)> log = [](const std::string&) {};  // lines, each with its end
  // Text that people read as it comes. False: nobody does any more.
  std::function<bool(const std::string&)> stream = [](const std::string&) { return true; };
  std::stop_token stop = {};  // a request ends the work with Stopped, where the work can be stopped
};

struct Result {
  Json json;
  std::string text;     // what the program prints: for people, or the JSON where --json asks for it
  std::string problem;  // empty: the command did what it was asked for; else the program prints this as its error
};

// The JSON as the program prints it, and a line's end. Text that is not UTF-8, as a path may be, has U+FFFD where it is
// not.
std::string json_text(const Json& json);

// Thrown by the core where it would have to run a model. The same command in the program with libtorch can.
struct NeedsTorch {};

// Options every long command has.
struct CommonOptions {
  int threads = 0;
  bool json = false, quiet = false;

  void add_to(CLI::App& app);
};

// Adds a command's options to its subcommand and returns what runs it.
using Runner = std::function<Result(const Context&)>;
Runner rotate_command(CLI::App& app);
Runner quantize_command(CLI::App& app);
Runner dequantize_command(CLI::App& app);
Runner discover_command(CLI::App& app);
Runner plan_command(CLI::App& app);
Runner inspect_command(CLI::App& app);
Runner tokenize_command(CLI::App& app);
Runner verify_command(CLI::App& app);

// Those that run models; in the core each throws NeedsTorch.
Runner answer_command(CLI::App& app);
Runner compare_command(CLI::App& app);
Runner eval_command(CLI::App& app);
Runner generate_command(CLI::App& app);
Runner learn_command(CLI::App& app);

}  // namespace spinor::cli
