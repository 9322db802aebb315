#include "spinor/learning/capture.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/calibration/sample_pass.h"
#include "spinor/learning/drawn_rows.h"
#include "spinor/learning/scale_statistics.h"
#include "spinor/learning/weight_rows.h"
#include "spinor/linalg/random.h"
#include "spinor/runtime/layer_factory.h"

namespace spinor::learning {
namespace {

// Rows of one place, or several, that read a whole sample each: which of its tokens are kept is drawn anew for each.
class SampledRows {
 public:
  SampledRows(RowBuffer buffer, int64_t kept, int64_t context, double first_token)
      : buffer_(std::move(buffer)), kept_(kept), context_(context) {
    weights_ = drawn_weights(context, kept, first_token);
  }

  // x (context, n)
  void add(const at::Tensor& x, Random& random) {
    buffer_.append(kept_ < context_ ? x.index_select(0, drawn_rows(context_, kept_, random).to(x.device())) : x);
    ++samples_;
  }
  bool empty() const { return buffer_.empty(); }
  // Each cut into rows of this width.
  RowSet take(int64_t width) const {
    const Rows rows = buffer_.rows(width);
    return {rows, weights_.repeat({samples_}).repeat_interleave(rows.count() / (samples_ * kept_))};
  }

 private:
  RowBuffer buffer_;
  int64_t kept_, context_, samples_ = 0;
  at::Tensor weights_;
};

int64_t kept_of(int64_t rows, int64_t places, int64_t samples, int64_t context) {
  return std::clamp<int64_t>(rows / std::max<int64_t>(1, places * samples), std::min<int64_t>(2, context), context);
}

class RowCollector : public runtime::LayerWatcher {
 public:
  RowCollector(const Model& model, int64_t samples, int64_t context, const CaptureOptions& options)
      : options_(options),
        context_(context),
        counts_{options.learn, samples - options.learn},
        random_(options.seed),
        scales_(options.scales),
        mass_(options.channels) {
    if (options.stream && !options.of_weights) find_norms(model);
    if (options.values)
      for (const ValueOutput& pair : model.value_outputs())
        if (model.is_in_layers(*pair.output)) outputs_[pair.output->name] = pair.output;
  }

  // Of all rows that will come.
  int64_t bytes(const Model& model) const {
    int64_t all = 0;
    for_sets(model, [&](size_t, int, int64_t places, int64_t kept, int64_t width) {
      all += RowStore::bytes(places * kept, width);
    });
    return all;
  }
  void reserve(const Model& model, RowStore& store) {
    for_sets(model, [&](size_t part, int set, int64_t places, int64_t kept, int64_t width) {
      sets_[part].try_emplace(set, store.buffer(places * kept, width), kept, context_, options_.first_token);
    });
  }

  void begin_sample(int64_t sample) {
    part_ = sample < options_.learn ? 0 : 1;
    seen_.clear();
  }

  void linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) override {
    if (part_ == 0) {
      scales_.add(linear, x, y, context_);
      mass_.add(linear, x, context_);
    }
    const at::Tensor rows = x.reshape({-1, x.size(-1)});
    if (rows.size(0) != context_) return;  // an expert's own tokens: what all of them are, another linear reads
    if (const auto norm = norms_.find(linear.name); norm != norms_.end() && seen_.insert(norm->second).second)
      add(kStream, rows, linear);
    if (const auto output = outputs_.find(linear.name); output != outputs_.end())
      add(output->second->layer, rows, linear);
  }
  bool needs_output(const runtime::Linear&) const override { return true; }
  void cache(const std::string&, const at::Tensor&, const at::Tensor&) override {}

  std::map<std::string, std::vector<double>> factors() const { return scales_.factors(); }
  std::map<std::string, std::vector<double>> mass() const { return mass_.mass(); }
  CapturedRows take(size_t part, const Model& model) const {
    CapturedRows rows;
    for (const auto& [set, sampled] : sets_[part]) {
      if (sampled.empty()) continue;
      if (set == kStream)
        rows.stream = sampled.take(model.hidden_size());
      else
        rows.values[set] = sampled.take(model.value_block());
    }
    return rows;
  }

 private:
  static constexpr int64_t kValueRows = 2048;  // tokens of each layer, of which each has many heads
  static constexpr int kStream = -1;           // in the place of a layer

  // Calls make(part, layer or kStream, samples that come from all places, rows kept of each, their width).
  template <typename Make>
  void for_sets(const Model& model, Make make) const {
    const auto norms = static_cast<int64_t>(norms_found_);
    for (size_t part = 0; part < 2; ++part) {
      const int64_t samples = counts_[part], rows = part == 0 ? options_.rows : options_.judge_rows;
      if (norms > 0) make(part, kStream, norms * samples, kept_of(rows, norms, samples, context_), model.hidden_size());
      for (const auto& [name, output] : outputs_)
        make(part, output->layer, samples, kept_of(kValueRows, 1, samples, context_), output->shape.in);
    }
  }

  void find_norms(const Model& model) {
    for (const NormReads& reads : model.stream().norm_reads) {
      if (reads.columns || reads.linears.empty() || !model.is_in_layers(*reads.linears.front())) continue;
      for (const Module* linear : reads.linears) norms_[linear->name] = norms_found_;
      ++norms_found_;
    }
  }

  void add(int set, const at::Tensor& rows, const runtime::Linear& linear) {
    check_finite(rows, linear);
    sets_[part_].at(set).add(rows, random_);
  }

  const CaptureOptions& options_;
  int64_t context_;
  std::array<int64_t, 2> counts_ = {};  // of samples in each part
  Random random_;
  ScaleStatistics scales_;
  ChannelMass mass_;
  size_t part_ = 0, norms_found_ = 0;
  std::map<std::string, size_t> norms_;           // by the linear that reads through it
  std::map<std::string, const Module*> outputs_;  // output projections
  std::set<size_t> seen_;                         // norms, in this sample
  std::array<std::map<int, SampledRows>, 2> sets_;
};

RowStore store_of(int64_t bytes, const CaptureOptions& options) {
  if (!options.rows_file.empty()) return {bytes, options.memory, options.rows_file, true};
  return {bytes, options.memory, options.scratch / fmt::format(".spinor-rows-{}", getpid()), false};
}

at::Tensor outputs_of(const calibration::SamplePass& pass, int64_t first, int64_t end) {
  std::vector<at::Tensor> outputs;
  for (int64_t i = first; i < end; ++i) outputs.push_back(pass.output(i).to(at::kCPU));
  return at::cat(outputs);
}

}  // namespace

Capture capture_rows(const RewritePlan& plan, const calibration::Samples& samples, const CaptureOptions& options) {
  const c10::InferenceMode inference;
  calibration::SamplePass pass(plan, samples, options.runtime, options.scratch);
  const Model& model = pass.factory().model();
  RowCollector collector(model, samples.count, samples.context, options);
  const bool of_weights = options.stream && options.of_weights;
  int64_t bytes = collector.bytes(model);
  if (of_weights) bytes += RowStore::bytes(count_weight_rows(model, options.rows), model.hidden_size());
  RowStore store = store_of(bytes, options);
  collector.reserve(model, store);
  pass.factory().watch(&collector);
  pass.embed();
  for (int64_t i = 0; i < pass.layers(); ++i) {
    const runtime::Layer layer = runtime::make_layer(pass.factory(), i);
    pass.run(layer, options.outputs || i + 1 < pass.layers(),
             {.before = [&](int64_t sample) { collector.begin_sample(sample); }, .stop = options.stop});
    if (options.progress) options.progress(i + 1, pass.layers());
  }
  Capture capture{collector.take(0, model), collector.take(1, model), collector.factors(), collector.mass()};
  if (options.outputs) capture.outputs = outputs_of(pass, options.learn, samples.count);
  if (of_weights)
    capture.learn.stream = capture.judge.stream = weight_rows(pass.factory(), store, options.rows, options.seed);
  store.sync();
  if (options.stream && !capture.learn.stream.rows.defined())
    throw Error(std::string(model.architecture_name()), "no norm of its layers reads the residual stream",
                "R1 cannot be learned here; leave it to be drawn");
  return capture;
}

}  // namespace spinor::learning
