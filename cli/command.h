// A command of the program: a row of the table in main.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

namespace spinor::cli {

// Options every long command has.
struct CommonOptions {
  int threads = 0;
  bool json = false, quiet = false;

  void add_to(CLI::App& app);
};

// Adds a command's options to its subcommand and returns what runs it; the result is the exit code.
using Runner = std::function<int()>;
Runner rotate_command(CLI::App& app);
Runner quantize_command(CLI::App& app);
Runner dequantize_command(CLI::App& app);
Runner plan_command(CLI::App& app);
Runner inspect_command(CLI::App& app);
Runner tokenize_command(CLI::App& app);
Runner verify_command(CLI::App& app);

// Those that run models. In the program without libtorch each starts the program with it, in its own place: loading
// libtorch takes more memory than rotating a model does.
Runner compare_command(CLI::App& app);
Runner eval_command(CLI::App& app);
Runner generate_command(CLI::App& app);
Runner learn_command(CLI::App& app);

}  // namespace spinor::cli
