#include "spinor/calibration/calibrate.h"

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "spinor/calibration/layer_tasks.h"
#include "spinor/calibration/on_each.h"
#include "spinor/calibration/sample_pass.h"
#include "spinor/ranks/rank_group.h"
#include "spinor/runtime/layer_factory.h"
#include "spinor/runtime/torch_errors.h"

namespace spinor::calibration {
namespace {

class Calibration {
 public:
  Calibration(const RewritePlan& plan, const Samples& samples, PreparedTensors& output, const CalibrateOptions& options)
      : options_(options),
        group_(or_alone(options.ranks)),
        samples_(share_of(samples, group_.rank(), group_.ranks())),
        pass_(plan, samples_, options.runtime, options.scratch),
        needs_(plan),
        tasks_(plan, needs_, output, group_, [this](const std::string& name) { return weights().compute(name); },
               {.threads = pass_.runtime().threads,
                .hessian_memory = pass_.runtime().memory / 4,
                .all_experts = options.all_experts,
                .chunks = chunks_of(samples),
                .device = at::Device(pass_.runtime().device)}) {
    pass_.factory().watch(&recorder_);
  }

  CalibrationReport run() {
    const int64_t layers = pass_.layers();
    needs_.check_beyond(layers);
    pass_.embed();
    for (int64_t i = 0; i < layers; ++i) through_layer(i, i + 1 == layers);
    outside(-1, needs_.any_at_head());
    for (const int64_t layer : needs_.layers_beyond(layers)) outside(layer, false);
    return tasks_.report();
  }

 private:
  runtime::Weights& weights() { return pass_.factory().weights(); }

  void through_layer(int64_t index, bool last) {
    tasks_.begin(index);
    for (const auto& [name, weight] : tasks_.finished_weights()) weights().replace(name, weight);
    const runtime::Layer layer = runtime::make_layer(pass_.factory(), index);
    weights().restore();
    const bool observed = tasks_.any_left(), changes = tasks_.any_changes_left();
    if (changes) tasks_.skip_last(index);
    for (bool first = true; tasks_.next_pass(); first = false) {
      run_samples(layer, {.layer = index}, first, !changes && tasks_.is_last_pass());
      tasks_.finish_pass();
    }
    if (observed) finish(index);
    const bool needed = !last || needs_.any_at_head();
    if (needed && (!observed || changes)) run_samples(layer, {.layer = index, .quantized = true}, false, true);
  }

  void run_samples(const runtime::Layer& layer, CalibrationProgress progress, bool observed, bool keep) {
    progress.layers = pass_.layers();
    progress.samples = samples_.count;
    SampleHooks hooks{.stop = options_.stop};
    hooks.before = [&](int64_t sample) {
      if (observed && options_.batch_start) options_.batch_start(sample, samples_.count);
    };
    hooks.after = [&](int64_t sample) {
      tasks_.collector().end_sample();
      if (observed && options_.batch_end) options_.batch_end(sample, samples_.count);
      progress.sample = sample + 1;
      if (options_.progress) options_.progress(progress);
    };
    pass_.run(layer, keep, hooks, recorder_);
    tasks_.collector().end_samples();
  }

  void finish(int64_t layer) {
    const std::vector<ModuleReport> found = tasks_.finish();
    if (options_.layer_end) options_.layer_end(layer, found);
  }

  // The head, and what stands before it; or what no text runs through.
  void outside(int64_t layer, bool at_head) {
    tasks_.begin(layer);
    if (!tasks_.any_left()) return;
    tasks_.skip_last(-1);
    while (tasks_.next_pass()) {
      if (at_head) through_head();
      tasks_.finish_pass();
    }
    finish(pass_.layers());
  }

  void through_head() {
    const int64_t layers = pass_.layers();
    pass_.run_head([&](int64_t sample) {
      tasks_.collector().end_sample();
      if (options_.progress) options_.progress({layers, layers, sample + 1, samples_.count, false});
    });
    tasks_.collector().end_samples();
  }

  const CalibrateOptions& options_;
  RankGroup& group_;
  Samples samples_;  // this rank's
  SamplePass pass_;
  DataNeeds needs_;
  LayerTasks tasks_;
  Recorder recorder_{tasks_.collector()};
};

}  // namespace

CalibrationReport calibrate(const RewritePlan& plan, const Samples& samples, PreparedTensors& output,
                            const CalibrateOptions& options) {
  return runtime::with_torch_errors([&] {
    const c10::InferenceMode inference;
    const OneThreadEach one;
    return Calibration(plan, samples, output, options).run();
  });
}

}  // namespace spinor::calibration
