// The commands as a program on a terminal.
#pragma once

#include <filesystem>
#include <string>

namespace spinor::cli {

// Runs the command that the arguments name. Returns the exit code: 0, 1 (it failed: one "error:" line) or 2 (wrong
// usage). What has to run a model, and cannot here, becomes the program that can (exec), with the same arguments:
// loading libtorch takes more memory than rotating a model does.
//
// Two things are for other programs. A first argument --options prints options_json(); after --events the command runs
// as run_events() says.
struct TorchProgram {
  std::filesystem::path path;
  std::string hint;  // what to do if it is not there
};
int run_program(int argc, char** argv, const TorchProgram& torch);

}  // namespace spinor::cli
