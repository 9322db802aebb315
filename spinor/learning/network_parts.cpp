#include "spinor/learning/network_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/learning/end_to_end.h"
#include "spinor/learning/saved_steps.h"
#include "spinor/learning/starts.h"
#include "spinor/runtime/matrices.h"
#include "spinor/transform/given_inputs.h"

namespace spinor::learning {
namespace {

using Starts = std::map<std::string, Starting>;

Starts starts_of_network(const LearningRun& run, RotationPart r1) {
  Starts starts;
  if (run.learns("R1")) {
    const Matrix<double> drawn = start_of_r1(run.model, run.request.start);
    starts["R1"] = {drawn, r1.empty() ? drawn : std::move(r1.at("R1"))};
  }
  if (run.learns("R2"))
    for (const auto& [layer, drawn] : starts_of_r2(run.model, run.request.start))
      starts[fmt::format("R2.{}", layer)] = {drawn, drawn};
  return starts;
}

EndToEndOptions how_to_learn_network(const LearningRun& run, const calibration::Samples& samples) {
  const LearningArguments& arguments = run.arguments();
  EndToEndOptions how{
      .objective = arguments.objective,
      .learn = run.samples_to_learn(samples),
      .samples = std::clamp<int64_t>(*arguments.batch / samples.context, 1, run.samples_to_learn(samples)),
      .seed = arguments.seed,
      .runtime = run.options.judge.runtime,
      .stop = run.options.stop,
      .work = run.options.work};
  how.optimizer.learning_rate = *arguments.learning_rate;
  how.optimizer.steps = *arguments.steps;
  how.optimizer.fixes_ones = run.model.stream().centred;
  how.runtime.dtype = DType::F32;
  how.runtime.activations = run.options.judge.activations;
  how.runtime.kv = run.options.judge.kv;
  how.progress = [&run, &arguments](int64_t step, double) {
    run.tell("learn by " + arguments.objective, step + 1, *arguments.steps);
  };
  return how;
}

std::optional<LearnedEndToEnd> find_network(const WorkDirectory* directory, const std::string& objective) {
  const std::optional<Snapshot> found = directory ? directory->find(objective) : std::nullopt;
  if (!found) return {};
  LearnedEndToEnd learned;
  learned.drawn = found->json[0], learned.start = found->json[1], learned.learned = found->json[2];
  for (const auto& [name, rotation] : found->tensors) learned.rotations.emplace(name, runtime::matrix_of(rotation));
  return learned;
}

void keep_network(WorkDirectory& directory, const std::string& objective, const LearnedEndToEnd& learned) {
  Snapshot snapshot{.json = {learned.drawn, learned.start, learned.learned}};
  for (const auto& [name, rotation] : learned.rotations) snapshot.tensors[name] = runtime::tensor_of(rotation);
  directory.save(objective, snapshot);
  SavedSteps(&directory, objective).drop();
}

LearnedEndToEnd learn_network(const LearningRun& run, const Starts& starts, const calibration::Samples& samples) {
  const std::string& objective = run.arguments().objective;
  if (std::optional<LearnedEndToEnd> found = find_network(run.options.work, objective)) return std::move(*found);
  const RewritePlan plan = rotated_plan(run.model, run.request.start);
  LearnedEndToEnd learned = learn_end_to_end(plan, starts, samples, how_to_learn_network(run, samples));
  if (run.options.work) keep_network(*run.options.work, objective, learned);
  return learned;
}

// Nothing: what was drawn is best.
RotationPart best_of(LearningRun& run, const Starts& starts, LearnedEndToEnd found) {
  const std::string& objective = run.arguments().objective;
  run.held_out()[objective] = {{"loss_as_drawn", found.drawn}, {"loss_at_start", found.start}, {"loss", found.learned}};
  if (found.learned < std::min(found.drawn, found.start)) return std::move(found.rotations);
  const bool start_is_better = found.start < found.drawn;
  run.warn(fmt::format("{}: what was learned has a loss of {:.4g} on held-out text, {} {:.4g}: that is kept", objective,
                       found.learned, start_is_better ? "its start" : "what was drawn",
                       std::min(found.drawn, found.start)));
  RotationPart kept;  // what is as it was drawn need not be judged
  for (const auto& [name, rotation] : starts)
    if (start_is_better && rotation.start.data != rotation.drawn.data) kept.emplace(name, rotation.start);
  return kept;
}

}  // namespace

void check_network(const LearningRun& run) {
  if (run.learns(kInputGroup))
    throw Error(fmt::format("objective {}", run.arguments().objective),
                fmt::format("is of the whole network, by which R1 and R2 are learned, and not {}", kInputGroup),
                "take an objective of rows");
  const JudgeOptions& judged = run.options.judge;
  if ((run.learns("R1") && !judged.activations) || (run.learns("R2") && !judged.activations && !judged.kv))
    throw Error(fmt::format("objective {}", run.arguments().objective),
                "is of the quantized network, and its activations are not quantized",
                "give them few bits (learning.activation_bits), or take an objective of rows");
}

std::pair<RotationPart, RotationPart> learn_from_network(LearningRun& run, RotationPart r1,
                                                         const calibration::Samples& samples) {
  const Starts starts = starts_of_network(run, std::move(r1));
  if (starts.empty()) return {};
  RotationPart all = best_of(run, starts, learn_network(run, starts, samples));
  RotationPart others;
  for (auto it = all.begin(); it != all.end();)
    if (it->first == "R1") {
      ++it;
    } else {
      others.insert(all.extract(it++));
    }
  return {std::move(all), std::move(others)};
}

}  // namespace spinor::learning
