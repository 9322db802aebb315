#include "spinor/learning/learn.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/learning/quantization.h"
#include "spinor/learning/saved_steps.h"
#include "spinor/linalg/random.h"
#include "spinor/runtime/matrices.h"

namespace spinor::learning {
namespace {

void check_shapes(const Rows& rows, const at::Tensor& weights, const Matrix<double>& rotation,
                  const LearnOptions& options) {
  const std::string& subject = options.subject;
  if (rows.count() == 0) throw Error(subject, "there are no rows to learn from");
  if (weights.dim() != 1 || weights.size(0) != rows.count())
    throw Error(subject, fmt::format("{} rows have {} weights", rows.count(), weights.numel()));
  if (rotation.rows != rotation.cols || rotation.rows < 1 || rows.width() % rotation.rows != 0)
    throw Error(subject, fmt::format("is of shape ({}, {}), which does not divide rows of {}", rotation.rows,
                                     rotation.cols, rows.width()));
  if (options.batch < 1 || options.optimizer.steps < 1)
    throw Error(subject,
                fmt::format("cannot be learned in {} steps of {} rows", options.optimizer.steps, options.batch));
}

// The rows of `bad` that are true, if any: the first.
std::optional<int64_t> first_true(const at::Tensor& bad) {
  if (!bad.any().item<bool>()) return std::nullopt;
  return bad.to(at::kByte).argmax().item<int64_t>();
}

void check_values(const Rows& rows, const at::Tensor& weights, const LearnOptions& options) {
  if (const auto row = first_true(at::logical_not(at::logical_and(weights > 0, at::isfinite(weights)))))
    throw Error(options.subject, fmt::format("row {} has the weight {}, which is not a positive number", *row,
                                             weights[*row].item<double>()));
  for (int64_t first = 0; first < rows.count(); first += options.batch) {
    const at::Tensor some = rows.slice(first, std::min(options.batch, rows.count() - first));
    if (const auto row = first_true(at::isfinite(some.sum(1, false, at::kDouble)).logical_not_()))
      throw Error(options.subject,
                  fmt::format("row {} of those to learn from has a value that is not finite", first + *row),
                  "the layer that it comes from overflows or has a NaN in its weights: spinor verify, or another text");
  }
}

// y = x blockdiag(R, ..., R), in float32 or R's type.
at::Tensor rotated(const at::Tensor& x, const at::Tensor& r) {
  return x.to(r.scalar_type()).reshape({-1, r.size(0)}).mm(r).reshape({-1, x.size(1)});
}

// Sorted, so that rows of a file are read in order.
std::vector<int64_t> draw_batch(Random& random, int64_t count, int64_t batch) {
  std::vector<int64_t> drawn(static_cast<size_t>(batch));
  for (int64_t& row : drawn) row = static_cast<int64_t>(random.uniform_double() * static_cast<double>(count));
  std::ranges::sort(drawn);
  return drawn;
}

// Where an earlier run was killed, if any was: its losses, and the next batch is the one that it would have drawn.
std::vector<double> go_on(CayleyOptimizer& optimizer, Random& random, const SavedSteps& saved,
                          const LearnOptions& options) {
  const std::optional<LearningState> earlier = saved.find();
  if (!earlier) return {};
  optimizer.restore(earlier->optimizers.at(options.subject));
  for (int64_t i = 0; i < std::ssize(earlier->losses) * options.batch; ++i) (void)random.uniform_double();
  return earlier->losses;
}

// calls work(y, weights) for all rows, a batch at a time.
template <typename Work>
void for_rotated(const Rows& rows, const at::Tensor& weights, const at::Tensor& r, int64_t batch, Work work) {
  for (int64_t first = 0; first < rows.count(); first += batch) {
    const int64_t count = std::min(batch, rows.count() - first);
    work(rotated(rows.slice(first, count), r), weights.narrow(0, first, count));
  }
}

}  // namespace

Learned learn_rotation(const Rows& rows, const at::Tensor& weights, const Matrix<double>& start,
                       const LearnOptions& options) {
  const c10::InferenceMode inference;
  const Objective& objective = find_objective(options.objective);
  check_shapes(rows, weights, start, options);
  check_values(rows, weights, options);
  CayleyOptimizer optimizer(runtime::tensor_of(start).to(rows.device(), at::kFloat), options.optimizer);
  Random random(options.seed);
  SavedSteps saved(options.work, options.subject);
  std::vector<double> losses = go_on(optimizer, random, saved, options);
  const auto keep = [&] {
    saved.offer({{{options.subject, optimizer.state()}}, losses}, options.stop.stop_requested());
  };
  for (int64_t step = std::ssize(losses); step < options.optimizer.steps; ++step) {
    if (options.stop.stop_requested()) {
      keep();
      throw Stopped();
    }
    const std::vector<int64_t> batch = draw_batch(random, rows.count(), options.batch);
    const at::Tensor y = rotated(rows.gather(batch), optimizer.rotation());
    const at::Tensor w = weights.index_select(0, at::tensor(batch, at::kLong).to(weights.device())).to(y.device());
    const RowLoss found = evaluate(objective, y, w, options.quantizer ? &*options.quantizer : nullptr);
    if (!std::isfinite(found.loss))
      throw Error(options.subject, fmt::format("the objective {} overflows in step {}", objective.name, step),
                  "rows are to be scaled to about one each element");
    optimizer.step(rotation_gradient(y, found.gradient, start.rows));
    losses.push_back(found.loss);
    keep();
    if (options.progress) options.progress(step, found.loss);
  }
  return {finish_rotation(optimizer.rotation(), options.optimizer.fixes_ones, options.subject), std::move(losses)};
}

double mean_loss(const Rows& rows, const at::Tensor& weights, const Matrix<double>& rotation,
                 const LearnOptions& options) {
  const c10::InferenceMode inference;
  const Objective& objective = find_objective(options.objective);
  check_shapes(rows, weights, rotation, options);
  check_values(rows, weights, options);
  const at::Tensor r = runtime::tensor_of(rotation).to(rows.device(), at::kFloat);
  std::optional<RowQuantizer> quantizer = options.quantizer;
  if (quantizer && !quantizer->global && has_global_scale(quantizer->args)) {
    float smallest = INFINITY;  // the scale is the inverse of the largest magnitude
    for_rotated(rows, weights, r, options.batch,
                [&](const at::Tensor& y, const at::Tensor&) { smallest = std::min(smallest, global_scale_of(y)); });
    quantizer->global = smallest;
  }
  double sum = 0, total = 0;
  for_rotated(rows, weights, r, options.batch, [&](const at::Tensor& y, const at::Tensor& w) {
    const double weight = w.sum(at::kDouble).item<double>();
    sum += weight * evaluate(objective, y, w.to(y.device()), quantizer ? &*quantizer : nullptr).loss;
    total += weight;
  });
  return sum / total;
}

}  // namespace spinor::learning
