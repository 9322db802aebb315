// The text that a model is calibrated on, and calibration as a part of saving it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "cli/command.h"
#include "cli/recipe.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/plan/save.h"

namespace spinor::cli {

struct CalibrationFlags {
  std::string text, memory, device = "cpu";
  int64_t samples = 128, context = 2048;
  uint64_t seed = 0;
  bool bos = false, all_experts = false;

  void add_to(CLI::App& app);
  bool given() const { return !text.empty(); }
};

// Makes save() to `out` calibrate the plan first. The text is read now. `run` is told of the batches, and finished; its
// warnings and those of calibration are added to planned's. All must stay until save() is over. In the program without
// libtorch: becomes the other one.
void calibrate_in(SaveOptions& options, const CalibrationFlags& flags, const CommonOptions& common, Planned& planned,
                  RecipeRun& run, const std::string& out);

}  // namespace spinor::cli
