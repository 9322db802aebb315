// The mse observer's search: which shrunk range of a group has the least error, step by step as llm-compressor does it.
//
// The search of a tensor ends after `patience` steps in which no group improved. So a group keeps the set of steps that
// improved it, and the tensor's end, known only when all groups are, picks among them.
//
// llm-compressor's imatrix observers search a little differently: errors are float32 throughout and weigh by the
// importance of their column, and 1 - maxshrink itself is tried too.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "spinor/quant/observer_options.h"
#include "spinor/quant/round.h"
#include "spinor/quant/scale.h"

namespace spinor {

// Immutable: const members may run on several threads.
class GridSearch {
 public:
  static constexpr int kMaxSteps = 128;
  using Steps = std::bitset<kMaxSteps>;

  // `rule` makes the candidates' scales; its arithmetic is that of errors. Error for more than kMaxSteps.
  GridSearch(const ObserverOptions& options, const ScaleRule& rule);

  int steps() const { return static_cast<int>(shrink_.size()); }
  // What a group's scale would be at every step.
  void candidates(Range range, std::span<Affine> steps) const;
  // errors[step] += those of n elements of a group; for imatrix their columns' importance, else null.
  void add_errors(std::span<const Affine> steps, const float* x, int64_t n, double* errors,
                  const float* importance = nullptr) const;
  // Steps with a smaller error than all before them.
  Steps improvements(std::span<const double> errors) const;
  // The steps that are tried at all, if `any` are the improvements of any group.
  Steps tried(const Steps& any) const;
  // The range of the last improvement.
  Range found(Range range, const Steps& improvements) const;

 private:
  Range at(Range range, int step) const;

  ScaleRule rule_;
  DType error_dtype_;
  float expand_;
  int patience_;
  PowerNorm norm_;
  std::vector<float> shrink_;
};

}  // namespace spinor
