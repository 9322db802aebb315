// Samples of a text on their way through a model, layer by layer, so that one layer's weights are held at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>

#include "spinor/calibration/activations.h"
#include "spinor/calibration/recorder.h"
#include "spinor/calibration/samples.h"
#include "spinor/plan/plan.h"
#include "spinor/runtime/ends.h"
#include "spinor/runtime/layer.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::calibration {

// What a caller wants of each sample that goes through a layer.
struct SampleHooks {
  std::function<void(int64_t sample)> before = {}, after = {};
  std::stop_token stop = {};  // a request ends the work before the next sample with Stopped
};

class SamplePass {
 public:
  // In float32, without low bits, with the plan's weights unquantized. What stands between two layers is in memory, or
  // in a file in `scratch` where it is more than half of runtime.memory (0: of half of what is free). `samples` stays.
  SamplePass(const RewritePlan& plan, const Samples& samples, const runtime::RuntimeOptions& runtime,
             const std::filesystem::path& scratch);

  runtime::ModuleFactory& factory() { return factory_; }
  const runtime::RuntimeOptions& runtime() const { return runtime_; }
  int64_t layers() const { return factory_.model().num_layers(); }

  // Of all samples, before the first layer. Error for a token outside the vocabulary.
  void embed();
  // Every sample through this layer; with `keep` what comes out is what goes into the next, else it is dropped.
  void run(const runtime::Layer& layer, bool keep, const SampleHooks& hooks);
  // The same, some samples side by side, each on one thread, and then seen by the recorder's collector one by one: what
  // it sees does not depend on threads. Within OneThreadEach (on_each.h).
  void run(const runtime::Layer& layer, bool keep, const SampleHooks& hooks, Recorder& recorder);
  // What comes out of the last layer, if that was kept, behind the final norm: (1, context, hidden).
  at::Tensor output(int64_t sample) const;
  // Every sample through the final norm and the head.
  void run_head(const std::function<void(int64_t sample)>& after);

 private:
  at::Tensor load(int64_t sample) const;
  int64_t samples_together() const;

  runtime::RuntimeOptions runtime_;
  runtime::ModuleFactory factory_;
  runtime::Ends ends_;
  const Samples& samples_;
  Activations stream_;
  runtime::RopeTables tables_;
};

}  // namespace spinor::calibration
