// What eval and compare are asked for: a model, a text, its windows, a recipe, and how to run.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cli/ranks.h"
#include "cli/text.h"
#include "cli/torch/model_flags.h"
#include "spinor/ranks/rank_group.h"
#include "spinor/runtime/evaluate.h"

namespace spinor::cli {

struct EvaluationFlags : ModelFlags {
  TextOptions text;
  runtime::EvaluateOptions options;
  RankOptions ranks;

  void add_to(CLI::App& app);
  // Meets the other ranks, if there are any, who have the same text and windows, and this in common, too; sets
  // options.ranks. Whether this process tells the result: rank 0 does.
  bool meet(const std::string& command, std::span<const int32_t> tokens, const std::string& common_too = "");

 private:
  std::shared_ptr<RankGroup> group_;
};

}  // namespace spinor::cli
