// Rotations learned from the loss of the whole quantized network, as SpinQuant does (arXiv 2405.16406).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/calibration/samples.h"
#include "spinor/learning/cayley.h"
#include "spinor/learning/work_directory.h"
#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace spinor::learning {

struct EndToEndOptions {
  std::string objective = "kl";          // one of the network
  CayleyOptions optimizer = {};          // of each rotation; fixes_ones is R1's
  int64_t learn = 0;                     // the first so many samples are to learn on, the others to judge by
  int64_t samples = 1;                   // in a step
  uint64_t seed = 0;                     // which ones
  runtime::RuntimeOptions runtime = {};  // activations and kv: how the network is quantized
  std::function<void(int64_t step, double loss)> progress = {};  // as of LearnOptions
  std::stop_token stop = {};
  WorkDirectory* work = nullptr;  // as of LearnOptions
};

// One rotation: as the plan has it, and where learning starts.
struct Starting {
  Matrix<double> drawn, start;
};

struct LearnedEndToEnd {
  std::map<std::string, Matrix<double>> rotations;  // orthogonal within kOrthogonal
  std::vector<double> losses;                       // of each step's samples, before the step
  // Of the samples to judge by: with all as drawn, as learning started, as it ended.
  double drawn = 0, start = 0, learned = 0;
};

// Learns all rotations, "R1" and "R2.<layer>", together. The plan's model has them as they are drawn, its norms folded.
// A step is of samples in an order drawn by the seed, each as often as the others. In float32 (float64 if
// options.runtime says so); the result depends on the number of threads in its last bits. Errors as of Frames and
// Network, and of finish_rotation().
LearnedEndToEnd learn_end_to_end(const RewritePlan& plan, const std::map<std::string, Starting>& rotations,
                                 const calibration::Samples& samples, const EndToEndOptions& options);

}  // namespace spinor::learning
