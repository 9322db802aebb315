#include "spinor/learning/rotation_parts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "spinor/learning/starts.h"

namespace spinor::learning {
namespace {

// Nothing where the objective of the other samples' rows did not fall.
std::optional<Matrix<double>> learn_one(LearningRun& run, const std::string& subject, const RowSet& rows,
                                        const RowSet& judged, const Matrix<double>& start) {
  LearnOptions how = how_to_learn(run, subject);
  how.progress = [&](int64_t step, double) { run.tell("learn " + subject, step + 1, how.optimizer.steps); };
  Learned found = learn_rotation(rows.rows, rows.weights, start, how);
  const double before = mean_loss(judged.rows, judged.weights, start, how);
  const double after = mean_loss(judged.rows, judged.weights, found.rotation, how);
  run.held_out()[subject] = {{"loss_at_start", before}, {"loss", after}};
  if (after < before) return std::move(found.rotation);
  run.warn(
      fmt::format("{}: what was learned has a loss of {:.4g} on held-out text, its start {:.4g}: the start is kept",
                  subject, after, before));
  return {};
}

}  // namespace

RotationPart learn_r1(LearningRun& run, const Capture& rows) {
  const Matrix<double> start = start_of_r1(run.model, run.request.start);
  RotationPart part;
  if (auto r1 = learn_one(run, "R1", rows.learn.stream, rows.judge.stream, start)) part.emplace("R1", std::move(*r1));
  return part;
}

// Objectives want rows about sqrt(n) long, as a norm leaves them; values are as long as they are.
RotationPart learn_r2(LearningRun& run, const Capture& rows) {
  RotationPart part;
  bool any = false;
  for (const auto& [layer, start] : starts_of_r2(run.model, run.request.start)) {
    const auto values = rows.learn.values.find(layer);
    if (values == rows.learn.values.end()) continue;
    RowSet learn = values->second, judge = rows.judge.values.at(layer);
    const double rms = learn.rows.to(at::kFloat).square().mean().sqrt().item<double>();
    for (RowSet* set : {&learn, &judge})
      if (rms > 0) set->rows = set->rows / rms;
    const std::string name = fmt::format("R2.{}", layer);
    std::optional<Matrix<double>> r2 = learn_one(run, name, learn, judge, start);
    any |= r2.has_value();
    part.emplace(name, r2 ? std::move(*r2) : start);
  }
  return any ? part : RotationPart();
}

}  // namespace spinor::learning
