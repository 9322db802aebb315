#include "spinor/learning/learning_run.h"

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

LearnOptions how_to_learn(const LearningRun& run, const std::string& subject) {
  const LearningArguments& arguments = run.arguments();
  LearnOptions how{.subject = subject,
                   .objective = arguments.objective,
                   .batch = arguments.batch,
                   .seed = arguments.seed,
                   .stop = run.options.stop};
  if (find_objective(arguments.objective).needs_quantizer) how.quantizer = RowQuantizer{run.options.activations};
  how.optimizer.learning_rate = arguments.learning_rate;
  how.optimizer.steps = arguments.steps;
  how.optimizer.fixes_ones = subject == "R1" && run.model.stream().centred;
  return how;
}

}  // namespace spinor::learning
