#include "spinor/learning/rotation_parts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "spinor/learning/outcome.h"
#include "spinor/learning/starts.h"

namespace spinor::learning {
namespace {

// Nothing where the objective of the other samples' rows did not fall.
std::optional<Matrix<double>> take(LearningRun& run, const std::string& subject, Outcome outcome) {
  run.held_out()[subject] = {{"loss_at_start", outcome.loss_at_start}, {"loss", outcome.loss}};
  if (outcome.helps()) return std::move(outcome.rotation);
  run.warn(
      fmt::format("{}: what was learned has a loss of {:.4g} on held-out text, its start {:.4g}: the start is kept",
                  subject, outcome.loss, outcome.loss_at_start));
  return {};
}

// Objectives want rows about sqrt(n) long, as a norm leaves them; values are as long as they are. Those of a layer are
// few: they are in memory afterwards.
void make_unit(Rows& learn, Rows& judge) {
  const at::Tensor all = learn.all();
  const double rms = all.to(at::kFloat).square().mean().sqrt().item<double>();
  if (!(rms > 0)) return;
  learn = all / rms;
  judge = judge.all() / rms;
}

Outcome learn_and_tell(const LearningRun& run, const std::string& subject, const RowSet& rows, const RowSet& judged,
                       const Matrix<double>& start) {
  LearnOptions how = how_to_learn(run, subject);
  how.progress = [&](int64_t step, double) { run.tell("learn " + subject, step + 1, how.optimizer.steps); };
  return learn_outcome(run, rows, judged, start, how);
}

// Nothing for a layer without values.
std::optional<Outcome> learn_r2_of(const LearningRun& run, const std::string& subject, const Capture& rows, int layer,
                                   const Matrix<double>& start) {
  const auto values = rows.learn.values.find(layer);
  if (values == rows.learn.values.end()) return {};
  RowSet learn = values->second, judge = rows.judge.values.at(layer);
  make_unit(learn.rows, judge.rows);
  return learn_and_tell(run, subject, learn, judge, start);
}

}  // namespace

RotationPart learn_r1(LearningRun& run, CaptureOnDemand& capture) {
  std::optional<Outcome> outcome = find_outcome(run, "R1");
  if (!outcome) {
    const Capture& rows = capture.rows();
    outcome =
        learn_and_tell(run, "R1", rows.learn.stream, rows.judge.stream, start_of_r1(run.model, run.request.start));
  }
  RotationPart part;
  if (auto r1 = take(run, "R1", std::move(*outcome))) part.emplace("R1", std::move(*r1));
  return part;
}

RotationPart learn_r2(LearningRun& run, CaptureOnDemand& capture) {
  RotationPart part;
  bool any = false;
  for (const auto& [layer, start] : starts_of_r2(run.model, run.request.start)) {
    const std::string subject = fmt::format("R2.{}", layer);
    std::optional<Outcome> outcome = find_outcome(run, subject);
    if (!outcome) outcome = learn_r2_of(run, subject, capture.rows(), layer, start);
    if (!outcome) continue;
    std::optional<Matrix<double>> r2 = take(run, subject, std::move(*outcome));
    any |= r2.has_value();
    part.emplace(subject, r2 ? std::move(*r2) : start);
  }
  return any ? part : RotationPart();
}

}  // namespace spinor::learning
