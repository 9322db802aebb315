#include "spinor/learning/input_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/learning/input_rows.h"
#include "spinor/learning/outcome.h"
#include "spinor/learning/quantization.h"
#include "spinor/learning/starts.h"

namespace spinor::learning {
namespace {

std::vector<InputSet> sets_to_learn(const LearningRun& run) {
  std::vector<InputSet> sets;
  for (const auto& [name, scheme] : run.request.start.transform_config->config_groups)
    if (name == kInputGroup) sets = input_sets(scheme, run.model);
  std::erase_if(sets, [&](const InputSet& set) {
    const Module& first = *set.front();
    return !run.model.is_in_layers(first) || first.shape.count > 1;
  });
  return sets;
}

// What learning did to all of them.
struct InputLosses {
  double before = 0, after = 0;
  int64_t inputs = 0;
  std::vector<std::string> kept_starts;
};

// The start where the objective of the other samples' rows did not fall, or there are none to learn from.
Matrix<double> learn_input(const LearningRun& run, const InputRows& rows, const Rotation& drawn, InputLosses& losses) {
  Matrix<double> start = drawn.matrix();
  const std::string name = fmt::format("{}.{}", kInputGroup, rows.set->front()->name);
  std::optional<Outcome> outcome = find_outcome(run, name);
  if (!outcome && rows.learn.rows.defined() && rows.judge.rows.defined())
    outcome = learn_outcome(run, rows.learn, rows.judge, start, how_to_learn(run, name));
  if (outcome) {
    ++losses.inputs;
    losses.before += outcome->loss_at_start;
    losses.after += std::min(outcome->loss_at_start, outcome->loss);
    if (outcome->helps()) return std::move(outcome->rotation);
  }
  losses.kept_starts.push_back(name);
  return start;
}

void record_losses(LearningRun& run, const InputLosses& losses) {
  const double inputs = static_cast<double>(std::max<int64_t>(1, losses.inputs));
  run.held_out()[kInputGroup] = {{"loss_at_start", losses.before / inputs},
                                 {"loss", losses.after / inputs},
                                 {"inputs", losses.inputs},
                                 {"starts_kept", std::ssize(losses.kept_starts)}};
  if (losses.kept_starts.empty()) return;
  run.warn(fmt::format(
      "{}{}: what was learned is no better on held-out text, or no token of it came there: the start is "
      "kept",
      losses.kept_starts.front(),
      losses.kept_starts.size() > 1 ? fmt::format(" and {} more inputs", losses.kept_starts.size() - 1) : ""));
}

}  // namespace

void check_inputs(const LearningRun& run) {
  const Objective& objective = find_objective(run.arguments().objective);
  if (run.of_network())
    throw Error("learning.objective", fmt::format("is {}, and v is learned from rows", objective.name),
                "take psot, or another objective of rows");
  if (!objective.needs_quantizer) return;
  for (const InputSet& set : sets_to_learn(run)) check_row_quantizer(run.options.activations, set.front()->shape.in);
}

void add_input_starts(LearningRun& run) {
  if (!run.learns(kInputGroup)) return;
  const std::map<std::string, Rotation> starts = starts_of_inputs(run.model, run.request.start);
  for (const InputSet& set : sets_to_learn(run)) {
    const std::string& first = set.front()->name;
    run.learned.rotations.try_emplace(fmt::format("{}.{}", kInputGroup, first), starts.at(first).matrix());
  }
}

RotationPart learn_inputs(LearningRun& run, const RewritePlan& unrotated, const calibration::Samples& samples,
                          int64_t samples_to_learn) {
  const Objective& objective = find_objective(run.arguments().objective);
  const InputRowOptions how{.learn = samples_to_learn,
                            .first_token = run.arguments().first_token.value_or(objective.first_weight),
                            .of_weights = objective.name == "weights",
                            .seed = run.arguments().seed,
                            .runtime = run.options.judge.runtime,
                            .scratch = run.options.scratch,
                            .stop = run.options.stop};
  const std::map<std::string, Rotation> starts = starts_of_inputs(run.model, run.request.start);
  const std::vector<InputSet> sets = sets_to_learn(run);
  RotationPart part;
  InputLosses losses;
  for_input_rows(unrotated, samples, sets, how, [&](int64_t layer, std::vector<InputRows> rows) {
    for (InputRows& input : rows) {
      const std::string& first = input.set->front()->name;
      part.emplace(fmt::format("{}.{}", kInputGroup, first), learn_input(run, input, starts.at(first), losses));
      input = {};
    }
    run.tell("learn v", layer + 1, run.model.num_layers());
  });
  record_losses(run, losses);
  return losses.kept_starts.size() < part.size() ? part : RotationPart();
}

}  // namespace spinor::learning
