#include "spinor/calibration/collector.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/calibration/on_each.h"

namespace spinor::calibration {
namespace {

constexpr int64_t kBatchesTogether = 4;  // whose inputs are held

[[noreturn]] void fail_not_finite(const std::string& module, const char* what) {
  throw Error(module, std::string(what) + " that are not finite on the calibration text",
              "the model overflows or its weights are damaged: run spinor eval on it");
}

}  // namespace

void Collector::want(const CalibratedActivation& activation) {
  const spinor::Place place{activation.module, activation.module};
  ranges_.emplace(Place(activation.module, activation.place),
                  ActivationRange(activation.args, activation_observer(activation.args, place)));
}

bool Collector::wants(const std::string& module, const char* place) const {
  if (!watching_) return false;
  return ranges_.contains(Place(module, place)) || (place == std::string_view("input") && inputs_.contains(module));
}

void Collector::end_batch() {
  read_.clear();
  if (++batches_ == kBatchesTogether) sum_up();
}

// The largest parts first: threads end at about the same time.
void Collector::sum_up() {
  struct Part {
    const Pending* pending;
    int64_t part;
  };
  std::vector<Part> parts;
  for (const Pending& pending : pending_)
    for (int64_t part = 0; part < pending.hessian->parts(); ++part) parts.push_back({&pending, part});
  std::ranges::stable_sort(parts, std::greater(), &Part::part);
  on_each(std::ssize(parts), threads_, [&](int64_t i) {
    const Part& part = parts[static_cast<size_t>(i)];
    part.pending->hessian->add(part.part, part.pending->inputs);
  });
  pending_.clear();
  batches_ = 0;
}

void Collector::finish() {
  watching_ = false;
  read_.clear();
  sum_up();
  for (const std::string& name : order_)
    if (!inputs_[name].hessian->finite()) fail_not_finite(name, "has inputs");
}

const ActivationRange& Collector::range(const CalibratedActivation& activation) const {
  return ranges_.at({activation.module, activation.place});
}

void Collector::clear() {
  inputs_.clear();
  ranges_.clear();
  read_.clear();
  pending_.clear();
  batches_ = 0;
  order_.clear();
  skipped_.clear();
  watching_ = true;
}

void Collector::skip(const std::string& linear) {
  if (!ranges_.contains(Place(linear, "output"))) skipped_.insert(linear);
}

bool Collector::needs_output(const runtime::Linear& linear) const {
  return !watching_ || !skipped_.contains(linear.name);
}

void Collector::linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) {
  if (!watching_) return;
  add(linear.name, "input", x);
  add(linear.name, "output", y);
  const auto wanted = inputs_.find(linear.name);
  if (wanted == inputs_.end()) return;
  Inputs& inputs = wanted->second;
  if (!inputs.hessian) order_.push_back(linear.name);
  inputs.weight = linear.weight;
  const auto same = [&](const auto& read) { return read.first.is_same(x) && read.second->part() == inputs.part; };
  if (const auto found = std::ranges::find_if(read_, same); found != read_.end()) {
    inputs.hessian = found->second;
    return;
  }
  if (!inputs.hessian) inputs.hessian = std::make_shared<Hessian>(x.size(-1), x.device(), inputs.part);
  const auto pending = std::ranges::find(pending_, inputs.hessian, &Pending::hessian);
  if (pending != pending_.end())
    pending->inputs.push_back(x);
  else
    pending_.push_back({inputs.hessian, {x}});
  read_.emplace_back(x, inputs.hessian);
}

void Collector::cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) {
  if (!watching_) return;
  add(attention, "k", keys);
  add(attention, "v", values);
}

void Collector::add(const std::string& module, const char* place, const at::Tensor& x) {
  const auto found = ranges_.find(Place(module, place));
  if (found == ranges_.end() || x.numel() == 0) return;
  const QuantizationArgs& args = found->second.args();
  const bool heads = args.strategy == QuantizationStrategy::attn_head;  // (samples, tokens, heads, head_dim)
  const at::Tensor rows = (heads ? x.flatten(0, 1).flatten(1) : x.flatten(0, -2)).to(at::kCPU, at::kFloat).contiguous();
  int64_t slots = heads ? x.size(2) : 1;
  if (args.strategy == QuantizationStrategy::tensor_group) slots = rows.size(1) / args.group_size.value_or(16);
  if (!found->second.add({rows.const_data_ptr<float>(), rows.size(0), rows.size(1)}, slots, threads_))
    fail_not_finite(module, "has activations");
}

}  // namespace spinor::calibration
