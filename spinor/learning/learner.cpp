#include "spinor/learning/learner.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/base/parallel.h"
#include "spinor/learning/capture_on_demand.h"
#include "spinor/learning/input_parts.h"
#include "spinor/learning/learning_run.h"
#include "spinor/learning/network_parts.h"
#include "spinor/learning/quantization.h"
#include "spinor/learning/rotation_parts.h"
#include "spinor/learning/seeds.h"
#include "spinor/learning/selection.h"
#include "spinor/learning/starts.h"
#include "spinor/learning/work_directory.h"
#include "spinor/runtime/free_memory.h"
#include "spinor/runtime/torch_errors.h"
#include "spinor/transform/stored_online.h"

namespace spinor::learning {
namespace {

// What can be known before any work.
void check_request(const LearningRun& run) {
  check_seeds(run);
  for (const std::string& name : run.arguments().rotations)
    if (run.request.learnable && name != kInputGroup && !run.rotates(spin_from(name)))
      throw Error("learning.rotations", fmt::format("has {}, which is not among the rotations", name),
                  fmt::format("add {} to rotations, or take it out of learning.rotations", name));
  if (run.of_network()) check_network(run);
  if (run.learns(kInputGroup)) check_inputs(run);
  if (!objective_of_rows(run.arguments()).needs_quantizer) return;
  if (run.learns_r1_from_rows()) check_row_quantizer(run.options.activations, run.model.hidden_size());
  if (run.learns("R2") && !run.of_network()) check_row_quantizer(run.options.activations, run.model.value_block());
}

std::vector<int32_t> judged_tokens(const LearningRun& run, const calibration::Samples& samples) {
  return {samples.tokens.begin() + run.samples_to_learn(samples) * samples.context, samples.tokens.end()};
}

std::vector<LegalScale> scales_to_find(const LearningRun& run) {
  std::vector<LegalScale> scales;
  if (!run.request.learnable) return scales;
  for (const ScaleLegality& one : scale_legality(run.model))
    if (contains(run.arguments().scales, std::string(name_in_table(one.kind)))) append(scales, one.scales);
  return scales;
}

std::vector<BlockedChannels> channels_to_order(const LearningRun& run) {
  if (!run.request.learnable || !run.arguments().permutation) return {};
  return blocked_channels(rotated_plan(run.model, run.request.start));
}

// Of the model as it is, folded, and not rotated.
RewritePlan folded_plan(const LearningRun& run) {
  RotateOptions fold = run.request.start;
  fold.spin.rotations.clear();
  fold.spin.given = {};
  fold.spin.vision = false;
  fold.transform_config.reset();
  return rotated_plan(run.model, fold);
}

// Centred embeddings are another function, unless LayerNorms read them.
bool computes_the_same_folded(const LearningRun& run) {
  return !run.request.start.center_embeddings;
}

CaptureOptions how_to_capture(const LearningRun& run, const calibration::Samples& samples) {
  const Objective& objective = objective_of_rows(run.arguments());
  const int64_t memory = run.options.rows_memory;
  CaptureOptions how{.learn = run.samples_to_learn(samples),
                     .first_token = run.arguments().first_token.value_or(objective.first_weight),
                     .stream = run.rotates(Spin::R1) && (run.learns_r1_from_rows() || run.request.seeds > 1),
                     .of_weights = objective.name == "weights",
                     .values = run.rotates(Spin::R2) && run.learns("R2") && !run.of_network(),
                     .scales = scales_to_find(run),
                     .channels = run.channels,
                     .outputs = run.request.learnable && computes_the_same_folded(run),
                     .seed = run.arguments().seed,
                     .runtime = run.options.judge.runtime,
                     .scratch = run.options.scratch,
                     .memory = memory > 0 ? memory : runtime::free_memory() / 4,
                     .stop = run.options.stop};
  if (run.options.work) how.rows_file = run.options.work->path(kRowsFile);
  how.progress = [&](int64_t layer, int64_t layers) { run.tell("capture", layer, layers); };
  return how;
}

Capture capture(const LearningRun& run, const calibration::Samples& samples) {
  const CaptureOptions how = how_to_capture(run, samples);
  if (!how.stream && !how.values && how.scales.empty() && how.channels.empty()) return {};
  return capture_rows(folded_plan(run), samples, how);
}

// With the scales that are kept, which change what channels weigh.
std::map<std::string, std::vector<int64_t>> orders(const LearningRun& run,
                                                   const std::map<std::string, std::vector<double>>& mass) {
  std::map<std::string, std::vector<int64_t>> all;
  for (const BlockedChannels& one : run.channels) {
    const auto found = mass.find(one.channels.name);
    if (found == mass.end()) continue;
    std::vector<double> scaled = found->second;
    if (const auto m = run.learned.scales.find("scale." + one.channels.scale_name()); m != run.learned.scales.end())
      std::ranges::transform(scaled, m->second, scaled.begin(), std::multiplies());
    all[one.channels.name] = balanced_order(scaled, one.block);
  }
  return all;
}

// The model as it is. Where capture has run it, folded and in float32, over the held-out windows (outputs: what it
// gave), it does not run again.
runtime::Reference original_of(const LearningRun& run, const calibration::Samples& samples, const at::Tensor& outputs) {
  runtime::RuntimeOptions runtime = run.options.judge.runtime;
  if (!outputs.defined()) return {as_stored(run.model), runtime, runtime::Reference::Keep::states};
  runtime.saved = DType::F32;
  const at::Tensor tokens =
      at::tensor(judged_tokens(run, samples), at::kInt).to(at::kLong).reshape({-1, samples.context});
  return {folded_plan(run), runtime, tokens, outputs};
}

void learn(LearningRun& run, CaptureOnDemand& rows, const calibration::Samples& samples) {
  RotationPart r1, r2, v;
  if (run.learns_r1_from_rows()) r1 = learn_r1(run, rows);
  if (!run.of_network() && run.learns("R2")) r2 = learn_r2(run, rows);
  const std::map<std::string, std::vector<double>> scales = rows.scales(), mass = rows.mass();
  rows.drop_rows();
  if (run.of_network()) std::tie(r1, r2) = learn_from_network(run, std::move(r1), samples);
  if (run.learns(kInputGroup)) v = learn_inputs(run, folded_plan(run), samples, run.samples_to_learn(samples));
  Selection selection(run, [&] {
    return Judge(run.model, judged_tokens(run, samples), original_of(run, samples, rows.outputs()), run.options.judge);
  });
  selection.add_rotations("R1", std::move(r1));
  selection.add_rotations("R2", std::move(r2));
  selection.add_rotations(kInputGroup, std::move(v));
  selection.add_scales(scales);
  selection.add_permutations(orders(run, mass));
  selection.finish();
}

LearnedRotations work(LearningRun run, const calibration::Samples& samples) {
  check_request(run);
  run.learned.record = write_fields(run.arguments());
  run.channels = channels_to_order(run);
  CaptureOnDemand rows(run.options.work, [&] { return capture(run, samples); });
  choose_seed(run, rows);
  if (run.request.learnable) learn(run, rows, samples);
  if (run.options.complete) add_starts(run);
  if (run.options.complete) add_input_starts(run);
  run.learned.record["kept"] = run.kept;
  return std::move(run.learned);
}

}  // namespace

LearnedRotations learn_rotations(const Model& model, const Learnable::Request& request,
                                 const calibration::Samples& samples, const LearnerOptions& options) {
  if (samples.count < 2)
    throw Error("calibration text",
                fmt::format("fills one window of {} tokens, and one must be left to judge by", samples.context),
                "use a longer text, or a smaller learning.context");
  return runtime::with_torch_errors([&] {
    const int threads = options.judge.runtime.threads;
    at::set_num_threads(threads > 0 ? threads : default_threads());
    LearningRun run{.model = model, .options = options, .request = request};
    run.request.learning = with_defaults(request.learning);
    return work(std::move(run), samples);
  });
}

}  // namespace spinor::learning
