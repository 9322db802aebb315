// All commands with their options, and the one that was chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/command.h"

namespace spinor::cli {

// Parsed and run once. Not movable: its options point into it.
class CommandLine {
 public:
  CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // To parse(), which throws CLI::ParseError, also for --help and --version.
  CLI::App& app() { return app_; }
  const CLI::App& app() const { return app_; }
  void choose(Runner runner) { chosen_ = std::move(runner); }
  bool has_flag(const std::string& name) const;  // given to the command that was chosen

  // Learns the rows of --architecture, and what --discover finds, which stay known to the process, and runs the command
  // that was chosen.
  Result run(const Context& context);
  // What to say of a std::bad_alloc out of run().
  std::string out_of_memory() const;

 private:
  void add_model_options(CLI::App& app);
  void discover(const Context& context) const;

  CLI::App app_;
  Runner chosen_;
  std::vector<std::string> rows_;
  bool discover_ = false, trust_remote_code_ = false;
};

}  // namespace spinor::cli
