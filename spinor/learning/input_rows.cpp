#include "spinor/learning/input_rows.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "spinor/calibration/sample_pass.h"
#include "spinor/learning/drawn_rows.h"
#include "spinor/linalg/random.h"
#include "spinor/runtime/layer_factory.h"

namespace spinor::learning {
namespace {

// Each row with a root mean square of 1, but for one that is all zero. What a linear reads without a norm before it has
// tokens a thousand times as long as others, which are quantized as all are: by scales of their own.
at::Tensor unit_rows(const at::Tensor& rows) {
  const at::Tensor wide = rows.to(at::kCPU, at::kFloat);
  const at::Tensor squares = wide.square().mean(1, true);
  return (wide / at::where(squares > 0, squares, at::ones_like(squares)).sqrt()).to(at::kBFloat16);
}

// Rows of any number of samples, in bfloat16.
struct InputParts {
  std::vector<at::Tensor> rows, weights;

  RowSet joined() const {
    if (rows.empty()) return {};
    return {at::cat(rows), at::cat(weights)};
  }
};

class InputCollector : public runtime::LayerWatcher {
 public:
  InputCollector(const std::vector<InputSet>& sets, const calibration::Samples& samples, const InputRowOptions& options)
      : options_(options), context_(samples.context), random_(options.seed) {
    const int64_t learn = options.learn, judge = samples.count - learn;
    kept_[0] = std::clamp<int64_t>(options.rows / std::max<int64_t>(1, learn), 1, context_);
    kept_[1] = std::clamp<int64_t>(options.judge_rows / std::max<int64_t>(1, judge), 1, context_);
    for (const InputSet& set : sets) first_.emplace(set.front()->name, &set);
  }

  void begin_sample(int64_t sample) { part_ = sample < options_.learn ? 0 : 1; }

  void linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor&) override {
    const auto found = first_.find(linear.name);
    if (found == first_.end() || x.numel() == 0) return;
    const at::Tensor all = x.reshape({-1, x.size(-1)});
    check_finite(all, linear);
    const int64_t count = all.size(0), kept = std::min(kept_[part_], count);
    InputParts& parts = parts_[found->second][part_];
    parts.rows.push_back(
        unit_rows(kept == count ? all : all.index_select(0, drawn_rows(count, kept, random_).to(all.device()))));
    // Of an expert that some tokens reached the first is one like the others.
    parts.weights.push_back(drawn_weights(count, kept, count == context_ ? options_.first_token : 1));
  }
  bool needs_output(const runtime::Linear&) const override { return true; }
  void cache(const std::string&, const at::Tensor&, const at::Tensor&) override {}

  std::vector<InputRows> take() {
    std::vector<InputRows> rows;
    for (auto& [set, parts] : parts_) rows.push_back({set, parts[0].joined(), parts[1].joined()});
    parts_.clear();
    return rows;
  }

 private:
  const InputRowOptions& options_;
  int64_t context_;
  std::array<int64_t, 2> kept_ = {};
  Random random_;
  size_t part_ = 0;
  std::map<std::string, const InputSet*, std::less<>> first_;
  std::map<const InputSet*, std::array<InputParts, 2>> parts_;  // of the layer
};

InputRows weight_rows_of(const InputSet& set, const runtime::ModuleFactory& factory, int64_t rows, Random& random) {
  std::vector<at::Tensor> weights;
  for (const Module* linear : set) weights.push_back(factory.linear(linear->name).weight.to(at::kCPU));
  at::Tensor all = at::cat(weights);
  if (all.size(0) > rows) all = all.index_select(0, drawn_rows(all.size(0), rows, random));
  const RowSet some{unit_rows(all), at::ones({all.size(0)})};
  return {&set, some, some};
}

}  // namespace

void for_input_rows(const RewritePlan& plan, const calibration::Samples& samples, const std::vector<InputSet>& sets,
                    const InputRowOptions& options,
                    const std::function<void(int64_t layer, std::vector<InputRows> rows)>& visit) {
  const c10::InferenceMode inference;
  calibration::SamplePass pass(plan, samples, options.runtime, options.scratch);
  InputCollector collector(sets, samples, options);
  Random random(options.seed);
  pass.factory().watch(&collector);
  if (!options.of_weights) pass.embed();
  for (int64_t i = 0; i < pass.layers(); ++i) {
    std::vector<InputRows> rows;
    if (options.of_weights) {
      for (const InputSet& set : sets)
        if (set.front()->layer == i) rows.push_back(weight_rows_of(set, pass.factory(), options.rows, random));
    } else {
      const runtime::Layer layer = runtime::make_layer(pass.factory(), i);
      pass.run(layer, i + 1 < pass.layers(),
               {.before = [&](int64_t sample) { collector.begin_sample(sample); }, .stop = options.stop});
      rows = collector.take();
    }
    visit(i, std::move(rows));
  }
}

}  // namespace spinor::learning
