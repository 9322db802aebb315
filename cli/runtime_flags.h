// Options of the commands that run models.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/command.h"
#include "spinor/runtime/options.h"

namespace spinor::cli {

struct RuntimeFlags {
  std::string dtype = "float32", device = "cpu", memory = {};
  int activations = 16, kv = 16;
  bool activations_symmetric = false, kv_symmetric = false;
  float activations_clip = 1, kv_clip = 1;

  void add_to(CLI::App& app);
  void add_low_bits_to(CLI::App& app);
  runtime::RuntimeOptions options(const CommonOptions& common) const;
};

}  // namespace spinor::cli
