#include "spinor/learning/outcome.h"

#include <cmath>
#include <utility>

#include "spinor/learning/saved_steps.h"
#include "spinor/learning/work_directory.h"
#include "spinor/runtime/matrices.h"

namespace spinor::learning {

std::optional<Outcome> find_outcome(const LearningRun& run, const std::string& subject) {
  const std::optional<Snapshot> found = run.options.work ? run.options.work->find(subject) : std::nullopt;
  if (!found) return {};
  Outcome outcome{.loss_at_start = found->json[0], .loss = found->json[1], .rotation = {}};
  if (outcome.helps()) outcome.rotation = runtime::matrix_of(found->tensors.at("rotation"));
  return outcome;
}

Outcome learn_outcome(const LearningRun& run, const RowSet& rows, const RowSet& judged, const Matrix<double>& start,
                      const LearnOptions& options) {
  Learned found = learn_rotation(rows.rows, rows.weights, start, options);
  Outcome outcome{.loss_at_start = mean_loss(judged.rows, judged.weights, start, options),
                  .loss = mean_loss(judged.rows, judged.weights, found.rotation, options),
                  .rotation = {}};
  if (outcome.helps()) outcome.rotation = std::move(found.rotation);
  if (!run.options.work || !std::isfinite(outcome.loss) || !std::isfinite(outcome.loss_at_start)) return outcome;
  Snapshot snapshot{.json = {outcome.loss_at_start, outcome.loss}};
  if (outcome.helps()) snapshot.tensors["rotation"] = runtime::tensor_of(outcome.rotation);
  run.options.work->save(options.subject, snapshot);
  SavedSteps(run.options.work, options.subject).drop();
  return outcome;
}

}  // namespace spinor::learning
