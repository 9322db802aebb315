// The text that a model is calibrated on.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "spinor/job/job.h"
#include "spinor/modifier/recipe.h"

namespace spinor::cli {

struct CalibrationFlags {
  std::string text, memory, device = "cpu";
  int64_t samples = 128, context = 2048;
  uint64_t seed = 0;
  bool bos = false, all_experts = false;

  void add_to(CLI::App& app);
  bool given() const { return !text.empty(); }
  std::optional<int64_t> asked_context() const;  // nothing: the default
  // What was asked for of samples, and learning does not take; empty: nothing.
  std::string left_by_learning() const;

 private:
  CLI::Option* context_ = nullptr;
  std::vector<CLI::Option*> of_samples_;
};

// Reads the text in the tokens of the model. The context is warned where it is shorter than was asked for, and told of
// each layer. Of several ranks all meet there. Throws NeedsTorch in the core.
std::shared_ptr<Calibrator> make_calibrator(const CalibrationFlags& flags, const CommonOptions& common,
                                            const Model& model, const Context& context, const Rank& rank = {},
                                            const RankMeeting& meeting = {});

// What was learned before a job begins, for what it writes.
struct Learning {
  Json record;  // of spinor.json; null: there was nothing to learn
  std::vector<std::string> warnings;
  std::filesystem::path file;        // holds what was learned until the job is done; empty: it holds nothing
  std::shared_ptr<const void> held;  // as long as it lives, other runs of the job are refused
};

// Rotations of the recipe that are learnable are learned from the text; `file` keeps them for a later run
// of the same job. `recorded_as`: how recipe.yaml names them. Throws NeedsTorch in the core.
Learning learn(Recipe& recipe, const Model& model, const CalibrationFlags& flags, const CommonOptions& common,
               const Context& context, const std::filesystem::path& file, const std::string& recorded_as = {});

}  // namespace spinor::cli
