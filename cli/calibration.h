// The text that a model is calibrated on.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "cli/command.h"
#include "spinor/job/job.h"

namespace spinor::cli {

struct CalibrationFlags {
  std::string text, memory, device = "cpu";
  int64_t samples = 128, context = 2048;
  uint64_t seed = 0;
  bool bos = false, all_experts = false;

  void add_to(CLI::App& app);
  bool given() const { return !text.empty(); }
};

// Reads the text in the tokens of the model. `warn` is told where it is shorter than was asked for. In the program
// without libtorch: becomes the other one.
std::shared_ptr<Calibrator> make_calibrator(const CalibrationFlags& flags, const CommonOptions& common,
                                            const Model& model, const std::function<void(std::string)>& warn);

}  // namespace spinor::cli
