#include "spinor/calibration/sample_pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/calibration/on_each.h"
#include "spinor/family/model_config.h"
#include "spinor/runtime/decoder.h"
#include "spinor/runtime/free_memory.h"

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

}  // namespace

SamplePass::SamplePass(const RewritePlan& plan, const Samples& samples, const runtime::RuntimeOptions& runtime,
                       const std::filesystem::path& scratch)
    : runtime_(exactly(runtime)),
      factory_(plan.unquantized(), runtime_),
      ends_(factory_, false),
      samples_(samples),
      stream_(samples.count, samples.context, factory_.model().hidden_size(), runtime_.memory / 2, scratch) {
  runtime::find_activation(factory_.forward());
  tables_ = runtime::rope_tables(factory_.forward(), 0, samples.context, runtime_);
}

at::Tensor SamplePass::load(int64_t sample) const {
  return stream_.load(sample).to(at::Device(runtime_.device));
}

void SamplePass::embed() {
  for (int64_t i = 0; i < samples_.count; ++i) {
    const auto first = samples_.tokens.begin() + i * samples_.context;
    const at::Tensor tokens = at::tensor(std::vector<int64_t>(first, first + samples_.context), at::kLong).unsqueeze(0);
    runtime::check_tokens(factory_.model(), tokens);
    stream_.store(i, ends_.embed(tokens, 0));
  }
}

void SamplePass::run(const runtime::Layer& layer, bool keep, const SampleHooks& hooks) {
  for (int64_t i = 0; i < samples_.count; ++i) {
    if (hooks.stop.stop_requested()) throw Stopped();
    if (hooks.before) hooks.before(i);
    const at::Tensor x = load(i);
    layer(x, tables_, nullptr);
    if (keep) stream_.store(i, x);
    if (hooks.after) hooks.after(i);
  }
}

// As many as there are threads, and as there is memory for: what linears read and give, and a copy of it.
int64_t SamplePass::samples_together() const {
  if (!at::Device(runtime_.device).is_cpu()) return 1;
  const Model& model = factory_.model();
  const int64_t values =
      8 * model.hidden_size() + 6 * model.config().intermediate_size.value_or(4 * model.hidden_size());
  const int64_t bytes = samples_.context * values * static_cast<int64_t>(sizeof(float));
  return std::clamp<int64_t>(runtime_.memory / 8 / bytes, 1, runtime_.threads);
}

void SamplePass::run(const runtime::Layer& layer, bool keep, const SampleHooks& hooks, Recorder& recorder) {
  const int64_t together = samples_together();
  for (int64_t first = 0; first < samples_.count; first += together) {
    std::vector<Recorder::Sample> seen(static_cast<size_t>(std::min(together, samples_.count - first)));
    on_each(std::ssize(seen), runtime_.threads, [&](int64_t i) {
      if (hooks.stop.stop_requested()) throw Stopped();
      recorder.record(seen[static_cast<size_t>(i)], [&] {
        const at::Tensor x = load(first + i);
        layer(x, tables_, nullptr);
        if (keep) stream_.store(first + i, x);
      });
    });
    for (int64_t i = 0; i < std::ssize(seen); ++i) {
      if (hooks.before) hooks.before(first + i);
      recorder.replay(seen[static_cast<size_t>(i)]);
      seen[static_cast<size_t>(i)].clear();
      if (hooks.after) hooks.after(first + i);
    }
  }
}

at::Tensor SamplePass::output(int64_t sample) const {
  return ends_.norm(load(sample));
}

void SamplePass::run_head(const std::function<void(int64_t sample)>& after) {
  for (int64_t i = 0; i < samples_.count; ++i) {
    const at::Tensor x = output(i);
    for (int64_t first = 0; first < samples_.context; first += kLogitsAtOnce)
      ends_.logits(x.narrow(1, first, std::min(kLogitsAtOnce, samples_.context - first)));
    after(i);
  }
}

}  // namespace spinor::calibration
