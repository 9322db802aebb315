#include "spinor/quant/grid_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "spinor/base/error.h"
#include "spinor/quant/narrow.h"

namespace spinor {

GridSearch::GridSearch(const ObserverOptions& options, const ScaleRule& rule)
    : rule_(rule),
      error_dtype_(options.imatrix ? DType::F32 : rule.numbers.arithmetic),
      expand_(static_cast<float>(options.expand)),
      patience_(options.patience > 0 ? options.patience : kMaxSteps),
      norm_(static_cast<double>(round_to(error_dtype_, static_cast<float>(options.norm)))) {
  int count = static_cast<int>(options.maxshrink * options.grid);
  if (options.imatrix) count = std::max(count, 1) + 1;
  if (count < 0 || count > kMaxSteps)
    throw Error("observer_kwargs",
                fmt::format("maxshrink {} and grid {} make {} steps", options.maxshrink, options.grid, count),
                fmt::format("at most {} are possible", kMaxSteps));
  for (int i = 0; i < count; ++i) shrink_.push_back(static_cast<float>(1 - static_cast<double>(i) / options.grid));
}

Range GridSearch::at(Range range, int step) const {
  const float p = shrink_[static_cast<size_t>(step)];
  const DType arithmetic = rule_.numbers.arithmetic;
  const auto scaled = [&](float end) { return round_to(arithmetic, round_to(arithmetic, end * expand_) * p); };
  return {scaled(range.low), scaled(range.high)};
}

void GridSearch::candidates(Range range, std::span<Affine> found) const {
  for (int i = 0; i < steps(); ++i) found[static_cast<size_t>(i)] = rule_.affine(at(range, i));
}

// Steps with the scale of the step before, as powers of two have it, have its error too.
void GridSearch::add_errors(std::span<const Affine> found, const float* x, int64_t n, double* errors,
                            const float* importance) const {
  Affine distinct[kMaxSteps];
  double sums[kMaxSteps] = {};
  size_t count = 0;
  for (const Affine& one : found)
    if (count == 0 || !(one == distinct[count - 1])) distinct[count++] = one;
  spinor::add_errors(rule_.numbers, norm_, x, n, std::span<const Affine>(distinct, count), sums, importance);
  size_t at = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!(found[i] == distinct[at])) ++at;
    errors[i] += sums[at];
  }
}

GridSearch::Steps GridSearch::improvements(std::span<const double> errors) const {
  Steps steps;
  float best = error_dtype_ == DType::F16 ? 65504 : std::numeric_limits<float>::max();
  for (size_t i = 0; i < errors.size(); ++i) {
    const float error = round_to(error_dtype_, static_cast<float>(errors[i]));
    if (!(error < best)) continue;
    best = error;
    steps.set(i);
  }
  return steps;
}

GridSearch::Steps GridSearch::tried(const Steps& any) const {
  Steps steps;
  int idle = 0;
  for (size_t i = 0; i < shrink_.size() && idle < patience_; ++i) {
    idle = any[i] ? 0 : idle + 1;
    steps.set(i);
  }
  return steps;
}

Range GridSearch::found(Range range, const Steps& improvements) const {
  for (int i = steps() - 1; i >= 0; --i)
    if (improvements[static_cast<size_t>(i)]) return at(range, i);
  return {round_to(rule_.numbers.arithmetic, range.low * expand_),
          round_to(rule_.numbers.arithmetic, range.high * expand_)};
}

}  // namespace spinor
