#include "spinor/learning/learning_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/base/list.h"

namespace spinor::learning {

bool LearningRun::rotates(Spin spin) const {
  const std::optional<TransformConfig>& config = request.start.transform_config;
  if (!config) return contains(request.start.spin.rotations, spin);
  return std::ranges::any_of(config->config_groups,
                             [&](const auto& group) { return group.first == name_in_table(spin); });
}

bool LearningRun::learns(std::string_view name) const {
  return request.learnable && contains(arguments().rotations, std::string(name));
}

void LearningRun::tell(const std::string& what, int64_t done, int64_t all) const {
  if (options.stop.stop_requested()) throw Stopped();
  if (options.progress) options.progress(what, done, all);
}

LearningArguments with_defaults(LearningArguments arguments) {
  const Objective& objective = find_objective(arguments.objective);
  if (!objective.of_network() && arguments.starts_from)
    throw Error("learning.starts_from",
                fmt::format("is of objectives of the whole network, and {} is of rows", objective.name),
                "leave it out");
  if (objective.of_network()) {
    const std::string& start =
        arguments.starts_from ? *arguments.starts_from : arguments.starts_from.emplace(objective.start);
    const auto found = std::ranges::find(objectives(), start, &Objective::name);
    if (start != kDrawn && (found == objectives().end() || found->of_network()))
      throw Error("learning.starts_from", fmt::format("is {}, which is no objective of rows", start),
                  fmt::format("take psot, another one, or {}", kDrawn));
    if (start == kDrawn && arguments.first_token)
      throw Error("learning.first_token", "weighs rows, and nothing is learned from rows", "leave it out");
  }
  arguments.steps = arguments.steps.value_or(objective.defaults.steps);
  arguments.batch = arguments.batch.value_or(objective.defaults.batch);
  arguments.learning_rate = arguments.learning_rate.value_or(objective.defaults.learning_rate);
  return arguments;
}

const Objective& objective_of_rows(const LearningArguments& arguments) {
  const Objective& objective = find_objective(arguments.objective);
  if (!objective.of_network()) return objective;
  return find_objective(arguments.starts_from == kDrawn ? objective.start : *arguments.starts_from);
}

LearnOptions how_to_learn(const LearningRun& run, const std::string& subject) {
  const LearningArguments& arguments = run.arguments();
  const Objective& objective = objective_of_rows(arguments);
  const bool own = objective.name == arguments.objective;  // the arguments are of another one else
  LearnOptions how{.subject = subject,
                   .objective = std::string(objective.name),
                   .batch = own ? *arguments.batch : objective.defaults.batch,
                   .seed = arguments.seed,
                   .stop = run.options.stop,
                   .work = run.options.work};
  if (objective.needs_quantizer) how.quantizer = RowQuantizer{run.options.activations};
  how.optimizer.learning_rate = own ? *arguments.learning_rate : objective.defaults.learning_rate;
  how.optimizer.steps = own ? *arguments.steps : objective.defaults.steps;
  how.optimizer.fixes_ones = subject == "R1" && run.model.stream().centred;
  return how;
}

}  // namespace spinor::learning
