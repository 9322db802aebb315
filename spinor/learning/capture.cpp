#include "spinor/learning/capture.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "spinor/base/error.h"
#include "spinor/calibration/sample_pass.h"
#include "spinor/learning/scale_statistics.h"
#include "spinor/learning/weight_rows.h"
#include "spinor/linalg/random.h"
#include "spinor/runtime/layer_factory.h"

namespace spinor::learning {
namespace {

// Rows that come in one after the other, in room that is there from the first one on.
class Rows {
 public:
  // Of so many places that read a whole sample each: which of its tokens are kept is drawn anew for each.
  Rows(int64_t places, int64_t kept, int64_t context, double first_token)
      : places_(places), kept_(kept), context_(context) {
    weights_ = at::full({kept_}, kept_ > 1 ? double(context - 1) / double(kept_ - 1) : 1.0, at::kFloat);
    weights_[0] = first_token;
  }

  // x (context, n)
  void add(const at::Tensor& x, Random& random) {
    at::Tensor chosen = x;
    if (kept_ < context_) {
      std::vector<int64_t> tokens = {0};
      for (const int64_t token : random.permutation(context_ - 1))
        if (std::ssize(tokens) < kept_) tokens.push_back(token + 1);
      chosen = x.index_select(0, at::tensor(tokens, at::kLong).to(x.device()));
    }
    if (!all_.defined()) all_ = at::empty({places_ * kept_, x.size(1)}, at::kBFloat16);
    all_.narrow(0, kept_ * filled_++, kept_).copy_(chosen);
  }
  bool empty() const { return filled_ == 0; }
  // Each cut into rows of this width.
  RowSet take(int64_t width) {
    const at::Tensor rows = all_.narrow(0, 0, kept_ * filled_);
    return {rows.view({-1, width}), weights_.repeat({filled_}).repeat_interleave(rows.size(1) / width)};
  }

 private:
  int64_t places_, kept_, context_, filled_ = 0;
  at::Tensor weights_, all_;
};

int64_t kept_of(int64_t rows, int64_t places, int64_t samples, int64_t context) {
  return std::clamp<int64_t>(rows / std::max<int64_t>(1, places * samples), std::min<int64_t>(2, context), context);
}

class RowCollector : public runtime::Observer {
 public:
  RowCollector(const Model& model, int64_t samples, int64_t context, const CaptureOptions& options)
      : options_(options), context_(context), random_(options.seed), scales_(options.scales) {
    if (options.stream && !options.of_weights) find_norms(model);
    if (options.values)
      for (const ValueOutput& pair : model.value_outputs())
        if (pair.output->layer < model.num_layers()) outputs_[pair.output->name] = pair.output->layer;
    const auto places = static_cast<int64_t>(norms_found_);
    counts_ = {options.learn, samples - options.learn};
    for (size_t part = 0; part < 2; ++part) {
      const int64_t rows = part == 0 ? options.rows : options.judge_rows;
      stream_.emplace_back(places * counts_[part], kept_of(rows, places, counts_[part], context), context,
                           options.first_token);
      values_.emplace_back();
    }
  }

  void begin_sample(int64_t sample) {
    part_ = sample < options_.learn ? 0 : 1;
    seen_.clear();
  }

  void linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) override {
    if (part_ == 0) scales_.add(linear, x, y, context_);
    const at::Tensor rows = x.reshape({-1, x.size(-1)});
    if (rows.size(0) != context_) return;  // an expert's own tokens: what all of them are, another linear reads
    if (const auto norm = norms_.find(linear.name); norm != norms_.end() && seen_.insert(norm->second).second)
      stream_[part_].add(finite(rows, linear), random_);
    if (const auto output = outputs_.find(linear.name); output != outputs_.end())
      values_[part_]
          .try_emplace(output->second, counts_[part_], kept_of(kValueRows, 1, counts_[part_], context_), context_,
                       options_.first_token)
          .first->second.add(finite(rows, linear), random_);
  }
  bool needs_output(const runtime::Linear&) const override { return true; }
  void cache(const std::string&, const at::Tensor&, const at::Tensor&) override {}

  std::map<std::string, std::vector<double>> factors() const { return scales_.factors(); }
  CapturedRows take(size_t part, const Model& model) {
    CapturedRows rows;
    if (!stream_[part].empty()) rows.stream = stream_[part].take(model.hidden_size());
    for (auto& [layer, values] : values_[part]) rows.values[layer] = values.take(model.value_block());
    return rows;
  }

 private:
  static constexpr int64_t kValueRows = 2048;  // tokens of each layer, of which each has many heads

  void find_norms(const Model& model) {
    for (const NormReads& reads : model.stream().norm_reads) {
      if (reads.columns || reads.linears.empty() || reads.linears.front()->layer < 0 ||
          reads.linears.front()->layer >= model.num_layers())
        continue;
      for (const Module* linear : reads.linears) norms_[linear->name] = norms_found_;
      ++norms_found_;
    }
  }

  static const at::Tensor& finite(const at::Tensor& rows, const runtime::Linear& linear) {
    if (at::isfinite(rows).all().item<bool>()) return rows;
    throw Error(linear.name, "reads values that are not finite: there is nothing to learn from",
                "look for the layer that makes them: spinor eval, spinor inspect");
  }

  const CaptureOptions& options_;
  int64_t context_;
  std::array<int64_t, 2> counts_ = {};  // of samples in each part
  Random random_;
  ScaleStatistics scales_;
  size_t part_ = 0, norms_found_ = 0;
  std::map<std::string, size_t> norms_;  // by the linear that reads through it
  std::map<std::string, int> outputs_;   // layers by output projection
  std::set<size_t> seen_;                // norms, in this sample
  std::vector<Rows> stream_;             // of each part
  std::vector<std::map<int, Rows>> values_;
};

}  // namespace

Capture capture_rows(const RewritePlan& plan, const calibration::Samples& samples, const CaptureOptions& options) {
  const c10::InferenceMode inference;
  calibration::SamplePass pass(plan, samples, options.runtime, options.scratch);
  const Model& model = pass.factory().model();
  RowCollector collector(model, samples.count, samples.context, options);
  pass.factory().observe(&collector);
  pass.embed();
  for (int64_t i = 0; i < pass.layers(); ++i) {
    const runtime::Layer layer = runtime::make_layer(pass.factory(), i);
    pass.run(layer, i + 1 < pass.layers(),
             {.before = [&](int64_t sample) { collector.begin_sample(sample); }, .stop = options.stop});
    if (options.progress) options.progress(i + 1, pass.layers());
  }
  Capture capture{collector.take(0, model), collector.take(1, model), collector.factors()};
  if (options.stream && options.of_weights)
    capture.learn.stream = capture.judge.stream = weight_rows(pass.factory(), options.rows, options.seed);
  if (options.stream && !capture.learn.stream.rows.defined())
    throw Error(std::string(model.architecture_name()), "no norm of its layers reads the residual stream",
                "R1 cannot be learned here; leave it to be drawn");
  return capture;
}

}  // namespace spinor::learning
