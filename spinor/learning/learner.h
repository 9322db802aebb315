// Rotations and scales learned from a text for one model, and kept only where they help.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/calibration/samples.h"
#include "spinor/learning/judge.h"
#include "spinor/modifier/learnable.h"
#include "spinor/quant/activation.h"

namespace spinor::learning {

class WorkDirectory;

struct LearnerOptions {
  JudgeOptions judge = {};              // its runtime is that of all work
  std::filesystem::path scratch = ".";  // see SamplePass
  int64_t rows_memory = 0;  // bytes of rows that may be in memory, see capture_rows(); 0: a quarter of what is free
  // What an earlier run of the same job has found is there, and what this one finds is kept there; null: nowhere.
  WorkDirectory* work = nullptr;
  // That of the objective `quantization`.
  QuantizationArgs activations = ActivationQuantizer::token_args(4, false);
  bool complete = false;  // R1 and R2 that are not learned or not kept are there all the same, as drawn
  // "capture", "learn R1", "judge"; and how far that is.
  std::function<void(const std::string& what, int64_t done, int64_t all)> progress = {};
  std::stop_token stop = {};
};

struct LearnedRotations {
  std::optional<uint64_t> seed;                     // of the start that was chosen among several
  std::map<std::string, Matrix<double>> rotations;  // as read_rotations() names them; none: the start was better
  std::map<std::string, std::vector<double>> scales;
  std::map<std::string, std::vector<int64_t>> permutations;
  Json record;  // objective, steps, seeds, the held-out figures of the start and of what is kept
  std::vector<std::string> warnings;

  bool empty() const { return rotations.empty() && scales.empty() && permutations.empty(); }
};

// Learns what the request names from samples of its `learning.context` tokens: the first learning.samples of them, the
// others judge. Each part, R1, R2, v, scales, permutation, is kept only if the objective of the rows of the other
// samples falls (of rotations) and the model's divergence from the original falls, too; else its start is kept, and a
// warning says so.
// Memory: that of capture_rows(), then 8 n^2 floats of a rotation, then that of evaluate(). In the last bits the result
// depends on the number of threads. Errors: those of rotate_model(), capture_rows() and learn_rotation(); a rotation
// that the request does not have, or one that is given already.
LearnedRotations learn_rotations(const Model& model, const Learnable::Request& request,
                                 const calibration::Samples& samples, const LearnerOptions& options);

}  // namespace spinor::learning
