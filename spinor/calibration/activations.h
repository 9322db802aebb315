// The residual stream of all samples between two layers: in memory, or in a file where that is too much.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "spinor/io/file.h"

namespace spinor::calibration {

class Activations {
 public:
  // Of so many samples of (tokens, hidden) floats, all of them in memory if that is at most `memory` bytes. Else they
  // are in a file in this directory, which is deleted when the program ends, however that is.
  Activations(int64_t samples, int64_t tokens, int64_t hidden, int64_t memory, const std::filesystem::path& directory);

  int64_t samples() const { return samples_; }
  bool in_memory() const { return !file_; }
  at::Tensor load(int64_t sample) const;  // (1, tokens, hidden), the caller's
  void store(int64_t sample, const at::Tensor& x);

 private:
  int64_t bytes() const { return tokens_ * hidden_ * static_cast<int64_t>(sizeof(float)); }

  int64_t samples_, tokens_, hidden_;
  std::vector<at::Tensor> held_;
  std::optional<File> file_;
};

}  // namespace spinor::calibration
