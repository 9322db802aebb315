#include "spinor/calibration/calibrate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/calibration/activations.h"
#include "spinor/calibration/layer_tasks.h"
#include "spinor/runtime/decoder.h"
#include "spinor/runtime/ends.h"
#include "spinor/runtime/free_memory.h"
#include "spinor/runtime/layer_factory.h"
#include "spinor/runtime/torch_errors.h"

namespace spinor::calibration {
namespace {

constexpr int64_t kLogitsAtOnce = 256;  // tokens that go through the head together

runtime::RuntimeOptions exactly(runtime::RuntimeOptions options) {
  options.dtype = DType::F32;
  options.saved = DType::F32;
  options.activations = options.kv = std::nullopt;
  options.threads = options.threads > 0 ? options.threads : default_threads();
  if (options.memory <= 0) options.memory = runtime::free_memory() / 2;
  return options;
}

class Calibration {
 public:
  Calibration(const RewritePlan& plan, const Samples& samples, PreparedTensors& output, const CalibrateOptions& options)
      : runtime_(exactly(options.runtime)),
        options_(options),
        factory_(plan.unquantized(), runtime_),
        ends_(factory_, false),
        samples_(samples),
        stream_(samples.count, samples.context, factory_.model().hidden_size(), runtime_.memory / 2, options.scratch),
        needs_(plan),
        tasks_(plan, needs_, output, [this](const std::string& name) { return factory_.weights().compute(name); },
               {runtime_.threads, runtime_.memory / 4, options.all_experts}) {
    runtime::find_activation(factory_.forward());
    factory_.observe(&tasks_.collector());
    tables_ = runtime::rope_tables(factory_.forward(), 0, samples.context, runtime_);
  }

  CalibrationReport run() {
    const int64_t layers = factory_.model().num_layers();
    needs_.check_beyond(layers);
    embed();
    for (int64_t i = 0; i < layers; ++i) through_layer(i, i + 1 == layers);
    outside(-1, needs_.any_at_head());
    for (const int64_t layer : needs_.layers_beyond(layers)) outside(layer, false);
    return tasks_.report();
  }

 private:
  void embed() {
    for (int64_t i = 0; i < samples_.count; ++i) {
      const auto first = samples_.tokens.begin() + i * samples_.context;
      const at::Tensor tokens =
          at::tensor(std::vector<int64_t>(first, first + samples_.context), at::kLong).unsqueeze(0);
      runtime::check_tokens(factory_.model(), tokens);
      stream_.store(i, ends_.embed(tokens, 0));
    }
  }

  void through_layer(int64_t index, bool last) {
    tasks_.begin(index);
    for (const auto& [name, weight] : tasks_.finished_weights()) factory_.weights().replace(name, weight);
    const runtime::Layer layer = runtime::make_layer(factory_, index);
    factory_.weights().restore();
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
    progress.layers = factory_.model().num_layers();
    progress.samples = samples_.count;
    for (int64_t i = 0; i < samples_.count; ++i) {
      if (options_.stop.stop_requested()) throw Stopped();
      if (observed && options_.batch_start) options_.batch_start(i, samples_.count);
      const at::Tensor x = stream_.load(i).to(at::Device(runtime_.device));
      layer(x, tables_, nullptr);
      if (keep) stream_.store(i, x);
      tasks_.collector().end_batch();
      if (observed && options_.batch_end) options_.batch_end(i, samples_.count);
      progress.sample = i + 1;
      if (options_.progress) options_.progress(progress);
    }
  }

  void finish(int64_t layer) {
    const std::vector<ModuleReport> found = tasks_.finish();
    if (options_.layer_end) options_.layer_end(layer, found);
  }

  // The head, and what stands before it; or what no text runs through.
  void outside(int64_t layer, bool at_head) {
    tasks_.begin(layer);
    if (!tasks_.any_left()) return;
    while (tasks_.next_pass()) {
      if (at_head) through_head();
      tasks_.finish_pass();
    }
    finish(factory_.model().num_layers());
  }

  void through_head() {
    const int64_t layers = factory_.model().num_layers();
    for (int64_t i = 0; i < samples_.count; ++i) {
      const at::Tensor x = stream_.load(i).to(at::Device(runtime_.device));
      ends_.norm(x);
      for (int64_t first = 0; first < samples_.context; first += kLogitsAtOnce)
        ends_.logits(x.narrow(1, first, std::min(kLogitsAtOnce, samples_.context - first)));
      tasks_.collector().end_batch();
      if (options_.progress) options_.progress({layers, layers, i + 1, samples_.count, false});
    }
  }

  runtime::RuntimeOptions runtime_;
  const CalibrateOptions& options_;
  runtime::ModuleFactory factory_;
  runtime::Ends ends_;
  const Samples& samples_;
  Activations stream_;
  DataNeeds needs_;
  LayerTasks tasks_;
  runtime::RopeTables tables_;
};

}  // namespace

CalibrationReport calibrate(const RewritePlan& plan, const Samples& samples, PreparedTensors& output,
                            const CalibrateOptions& options) {
  return runtime::with_torch_errors([&] {
    const c10::InferenceMode inference;
    at::set_num_threads(exactly(options.runtime).threads);
    return Calibration(plan, samples, output, options).run();
  });
}

}  // namespace spinor::calibration
