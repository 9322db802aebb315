// Learning one rotation from rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/learning/cayley.h"
#include "spinor/learning/objective.h"
#include "spinor/learning/rows.h"
#include "spinor/learning/work_directory.h"

namespace spinor::learning {

struct LearnOptions {
  std::string subject = "R1";  // what is learned, for errors
  std::string objective = "psot";
  std::optional<RowQuantizer> quantizer = {};  // of `quantization`
  CayleyOptions optimizer = {};                // its steps are those of learning
  int64_t batch = 2048;
  uint64_t seed = 0;  // of the batches
  // After each step, with its number from 0 and the loss of its batch before it.
  std::function<void(int64_t step, double loss)> progress = {};
  std::stop_token stop = {};      // ends the work before the next step with Stopped
  WorkDirectory* work = nullptr;  // where it goes on if an earlier run was there, see SavedSteps; null: nothing is kept
};

struct Learned {
  Matrix<double> rotation;     // orthogonal within kOrthogonal
  std::vector<double> losses;  // of each step's batch, before the step
};

// Learns R so that the objective of rows R is small. rows (count, n): float32 or narrower, on any device, where all is
// computed in float32; weights (count), positive. start (size, size), orthogonal, size dividing n: less than n is one
// block of blockdiag(R, ..., R). Batches are drawn uniformly, with replacement, by the seed alone; in the last bits the
// result depends on the number of threads, as libtorch's products do. Memory: 10 batch n + 8 size^2 floats. Errors,
// about the subject: shapes that do not fit; a row that is not finite, with its number; a weight that is not a positive
// number; a loss that overflows. Those of find_objective() and evaluate().
Learned learn_rotation(const Rows& rows, const at::Tensor& weights, const Matrix<double>& start,
                       const LearnOptions& options);

// The mean of options' objective over all rows, for rotations that are to be compared; the same errors.
double mean_loss(const Rows& rows, const at::Tensor& weights, const Matrix<double>& rotation,
                 const LearnOptions& options);

}  // namespace spinor::learning
