#include "spinor/calibration/collector.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/plan/calibration_share.h"

namespace spinor::calibration {
namespace {

[[noreturn]] void fail_not_finite(const std::string& module, const char* what) {
  throw Error(module, std::string(what) + " that are not finite on the calibration text",
              "the model overflows or its weights are damaged: run spinor eval on it");
}

}  // namespace

void Collector::want(const std::string& linear, HessianPart part, int owner) {
  parts_[linear] = part;
  sums_.want(linear, owner);
}

void Collector::want(const CalibratedActivation& activation) {
  const spinor::Place place{activation.module, activation.module};
  sums_.want({activation.module, activation.place},
             ActivationRange(activation.args, activation_observer(activation.args, place)));
}

bool Collector::wants(const std::string& module, const char* place) const {
  if (!watching_) return false;
  return sums_.range({module, place}) || (place == std::string_view("input") && parts_.contains(module));
}

void Collector::end_sample() {
  read_.clear();
  if (watching_ && ++samples_ == kSamplesInChunk) end_chunk();
}

void Collector::end_samples() {
  if (!watching_) return;
  if (samples_ > 0) end_chunk();
  sums_.finish();
}

void Collector::end_chunk() {
  sums_.add(chunk_);
  chunk_ = {};
  samples_ = 0;
}

void Collector::finish() {
  watching_ = false;
  if (const std::string name = sums_.first_not_finite(); !name.empty()) fail_not_finite(name, "has inputs");
}

const ActivationRange& Collector::range(const CalibratedActivation& activation) const {
  return *sums_.range({activation.module, activation.place});
}

at::Tensor Collector::weight(const std::string& linear) const {
  const auto found = weights_.find(linear);
  return found == weights_.end() ? at::Tensor() : found->second;
}

void Collector::clear() {
  sums_.clear();
  parts_.clear();
  chunk_ = {};
  samples_ = 0;
  read_.clear();
  skipped_.clear();
  watching_ = true;
}

void Collector::skip(const std::string& linear) {
  if (!sums_.range({linear, "output"})) skipped_.insert(linear);
}

bool Collector::needs_output(const runtime::Linear& linear) const {
  return !watching_ || !skipped_.contains(linear.name);
}

void Collector::linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) {
  if (!watching_) return;
  add(linear.name, "input", x);
  add(linear.name, "output", y);
  if (const auto wanted = parts_.find(linear.name); wanted != parts_.end()) add_input(linear.name, wanted->second, x);
}

void Collector::add_input(const std::string& linear, HessianPart part, const at::Tensor& x) {
  const auto same = [&](const auto& read) { return read.first.is_same(x) && chunk_.inputs[read.second].part == part; };
  const auto found = std::ranges::find_if(read_, same);
  const size_t next = found != read_.end() ? found->second : chunk_.inputs.size();
  const auto [place, first] = chunk_.read.emplace(linear, next);
  if (first) chunk_.linears.push_back(linear);
  if (found != read_.end()) return;
  if (place->second == chunk_.inputs.size()) chunk_.inputs.push_back({.part = part, .x = {}});
  chunk_.inputs[place->second].x.push_back(x);
  read_.emplace_back(x, place->second);
}

void Collector::cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) {
  if (!watching_) return;
  add(attention, "k", keys);
  add(attention, "v", values);
}

void Collector::add(const std::string& module, const char* place, const at::Tensor& x) {
  const ActivationRange* range = sums_.range({module, place});
  if (!range || x.numel() == 0) return;
  const QuantizationArgs& args = range->args();
  const bool heads = args.strategy == QuantizationStrategy::attn_head;  // (samples, tokens, heads, head_dim)
  const at::Tensor rows = (heads ? x.flatten(0, 1).flatten(1) : x.flatten(0, -2)).to(at::kCPU, at::kFloat).contiguous();
  int64_t slots = heads ? x.size(2) : 1;
  if (args.strategy == QuantizationStrategy::tensor_group) slots = rows.size(1) / args.group_size.value_or(16);
  std::vector<Range> ranges = range->of({rows.const_data_ptr<float>(), rows.size(0), rows.size(1)}, slots, threads_);
  if (ranges.empty()) fail_not_finite(module, "has activations");
  chunk_.ranges[{module, place}].push_back(std::move(ranges));
}

}  // namespace spinor::calibration
