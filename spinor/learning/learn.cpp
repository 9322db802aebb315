#include "spinor/learning/learn.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/learning/quantization.h"
#include "spinor/linalg/random.h"

namespace spinor::learning {
namespace {

void check_shapes(const at::Tensor& rows, const at::Tensor& weights, const Matrix<double>& rotation,
                  const LearnOptions& options) {
  const std::string& subject = options.subject;
  if (rows.dim() != 2 || rows.size(0) == 0) throw Error(subject, "there are no rows to learn from");
  if (weights.dim() != 1 || weights.size(0) != rows.size(0))
    throw Error(subject, fmt::format("{} rows have {} weights", rows.size(0), weights.numel()));
  if (rotation.rows != rotation.cols || rotation.rows < 1 || rows.size(1) % rotation.rows != 0)
    throw Error(subject, fmt::format("is of shape ({}, {}), which does not divide rows of {}", rotation.rows,
                                     rotation.cols, rows.size(1)));
  if (options.batch < 1 || options.optimizer.steps < 1)
    throw Error(subject,
                fmt::format("cannot be learned in {} steps of {} rows", options.optimizer.steps, options.batch));
}

// The rows of `bad` that are true, if any: the first.
std::optional<int64_t> first_true(const at::Tensor& bad) {
  if (!bad.any().item<bool>()) return std::nullopt;
  return bad.to(at::kByte).argmax().item<int64_t>();
}

void check_values(const at::Tensor& rows, const at::Tensor& weights, const LearnOptions& options) {
  if (const auto row = first_true(at::logical_not(at::logical_and(weights > 0, at::isfinite(weights)))))
    throw Error(options.subject, fmt::format("row {} has the weight {}, which is not a positive number", *row,
                                             weights[*row].item<double>()));
  for (int64_t first = 0; first < rows.size(0); first += options.batch) {
    const at::Tensor some = rows.narrow(0, first, std::min(options.batch, rows.size(0) - first));
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

at::Tensor tensor_of(const Matrix<double>& m, const at::Device& device) {
  return at::tensor(m.data, at::kDouble).reshape({m.rows, m.cols}).to(device, at::kFloat);
}

// Sorted, so that rows of a mapped file are read in order.
at::Tensor draw_batch(Random& random, int64_t count, int64_t batch, const at::Device& device) {
  std::vector<int64_t> drawn(static_cast<size_t>(batch));
  for (int64_t& row : drawn) row = static_cast<int64_t>(random.uniform_double() * static_cast<double>(count));
  std::ranges::sort(drawn);
  return at::tensor(drawn, at::kLong).to(device);
}

// calls work(y, weights) for all rows, a batch at a time.
template <typename Work>
void for_rotated(const at::Tensor& rows, const at::Tensor& weights, const at::Tensor& r, int64_t batch, Work work) {
  for (int64_t first = 0; first < rows.size(0); first += batch) {
    const int64_t count = std::min(batch, rows.size(0) - first);
    work(rotated(rows.narrow(0, first, count), r), weights.narrow(0, first, count));
  }
}

}  // namespace

Learned learn_rotation(const at::Tensor& rows, const at::Tensor& weights, const Matrix<double>& start,
                       const LearnOptions& options) {
  const c10::InferenceMode inference;
  const Objective& objective = find_objective(options.objective);
  check_shapes(rows, weights, start, options);
  check_values(rows, weights, options);
  CayleyOptimizer optimizer(tensor_of(start, rows.device()), options.optimizer);
  Random random(options.seed);
  Learned learned;
  for (int64_t step = 0; step < options.optimizer.steps; ++step) {
    if (options.stop.stop_requested()) throw Stopped();
    const at::Tensor batch = draw_batch(random, rows.size(0), options.batch, rows.device());
    const at::Tensor y = rotated(rows.index_select(0, batch), optimizer.rotation());
    const RowLoss found = evaluate(objective, y, weights.index_select(0, batch.to(weights.device())).to(y.device()),
                                   options.quantizer ? &*options.quantizer : nullptr);
    if (!std::isfinite(found.loss))
      throw Error(options.subject, fmt::format("the objective {} overflows in step {}", objective.name, step),
                  "rows are to be scaled to about one each element");
    optimizer.step(rotation_gradient(y, found.gradient, start.rows));
    learned.losses.push_back(found.loss);
    if (options.progress) options.progress(step, found.loss);
  }
  learned.rotation = finish_rotation(optimizer.rotation(), options.optimizer.fixes_ones, options.subject);
  return learned;
}

double mean_loss(const at::Tensor& rows, const at::Tensor& weights, const Matrix<double>& rotation,
                 const LearnOptions& options) {
  const c10::InferenceMode inference;
  const Objective& objective = find_objective(options.objective);
  check_shapes(rows, weights, rotation, options);
  check_values(rows, weights, options);
  const at::Tensor r = tensor_of(rotation, rows.device());
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
