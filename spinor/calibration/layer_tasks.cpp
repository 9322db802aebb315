#include "spinor/calibration/layer_tasks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/model/inputs_key.h"
#include "spinor/model/module_name.h"
#include "spinor/plan/outputs.h"

namespace spinor::calibration {
namespace {

// Weights with the same key read the same, or share a scale, and so belong into one pass.
std::string task_key(const WeightTask& task, const Model& model) {
  if (const std::string& fused = task.quantization().fused; !fused.empty()) return fused;
  const Module* module = model.owner(task.tensor().name);
  return module ? inputs_key(*module) : task.tensor().name;
}

// The weight itself where it can be.
at::Tensor on_cpu(const at::Tensor& weight) {
  return weight.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

LayerTasks::LayerTasks(const RewritePlan& plan, const DataNeeds& needs, PreparedTensors& output, ReadWeight read_weight,
                       const Options& options)
    : plan_(plan),
      needs_(needs),
      output_(output),
      read_weight_(std::move(read_weight)),
      threads_(options.threads),
      hessian_memory_(options.hessian_memory),
      collector_(options.threads, options.all_experts) {}

void LayerTasks::begin(int64_t layer) {
  weights_.clear();
  activations_.clear();
  unused_outputs_.clear();
  written_.clear();
  finished_.clear();
  collector_.clear();
  next_ = 0;
  const bool finished = is_finished(layer);
  for (const auto& [tensor, quantization, in] : needs_.weights()) {
    if (in != layer) continue;
    if (finished)
      take_finished(*tensor, *quantization);
    else
      weights_.push_back(std::make_unique<WeightTask>(*tensor, *quantization, output_.dtype(*tensor)));
  }
  sort_by_inputs();
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (activation.layer == layer && !finished)
      activations_.push_back(&activation);
    else if (activation.layer == layer)
      take_finished(activation);
  first_report_ = report_.modules.size();
}

// Those with the same inputs side by side, else as they come.
void LayerTasks::sort_by_inputs() {
  std::map<std::string, size_t> order;
  std::vector<std::pair<size_t, std::unique_ptr<WeightTask>>> tasks;
  for (auto& task : weights_) {
    const size_t place = order.emplace(task_key(*task, plan_.model()), order.size()).first->second;
    tasks.emplace_back(place, std::move(task));
  }
  std::ranges::stable_sort(tasks, {}, [](const auto& task) { return task.first; });
  weights_.clear();
  for (auto& [place, task] : tasks) weights_.push_back(std::move(task));
}

bool LayerTasks::next_pass() {
  const bool first = written_.empty() && next_ == 0 && in_pass_.empty();
  in_pass_.clear();
  if (next_ == weights_.size() && (!first || activations_.empty())) return false;
  collector_.clear();
  for (const std::string& linear : unused_outputs_) collector_.skip(linear);
  if (first)
    for (const CalibratedActivation* activation : activations_) collector_.want(*activation);
  std::string key;
  for (int64_t bytes = 0; next_ < weights_.size(); ++next_) {
    WeightTask& task = *weights_[next_];
    const std::string inputs = task_key(task, plan_.model());
    if (inputs != key) bytes += hessian_bytes(next_);
    if (inputs != key && !in_pass_.empty() && bytes > hessian_memory_) break;
    key = inputs;
    collector_.want(task.report().module, task.by_gptq() ? HessianPart::whole : HessianPart::diagonal);
    in_pass_.push_back(&task);
  }
  return true;
}

// Of those with the inputs of this one, which are side by side.
int64_t LayerTasks::hessian_bytes(size_t first) const {
  const std::string key = task_key(*weights_[first], plan_.model());
  for (size_t i = first; i < weights_.size() && task_key(*weights_[i], plan_.model()) == key; ++i)
    if (const WeightTask& task = *weights_[i]; task.by_gptq()) return 4 * task.inputs() * task.inputs();
  return 0;
}

bool LayerTasks::is_finished(int64_t layer) const {
  const auto weight = [&](const DataNeeds::Weight& w) { return w.layer != layer || output_.finished(*w.tensor); };
  const auto scales = [&](const CalibratedActivation& a) {
    return a.layer != layer || output_.finished(a).has_value();
  };
  return std::ranges::all_of(needs_.weights(), weight) && std::ranges::all_of(plan_.calibrated(), scales);
}

void LayerTasks::take_finished(const TensorPlan& tensor, const WeightQuantization& quantization) {
  report_.modules.push_back(read_fields<ModuleReport>(*output_.finished(tensor), {"", "journal"}));
  if (quantization.gptq && report_.modules.back().tokens > 0) finished_[tensor.name] = read(tensor, quantization);
}

void LayerTasks::take_finished(const CalibratedActivation& activation) {
  if (const Json note = *output_.finished(activation); !note.is_null())
    report_.activations.push_back(read_fields<ActivationReport>(note, {"", "journal"}));
}

at::Tensor LayerTasks::read(const TensorPlan& tensor, const WeightQuantization& quantization) const {
  return WeightTask::read(tensor, quantized_layout(tensor, quantization, output_.dtype(tensor)), output_.read(tensor));
}

// The last linears of a layer: what they give goes into the stream, and that is made anew with the quantized layer. Of
// the head: logits.
void LayerTasks::skip_last(int64_t layer) {
  const Role last = layer < 0 ? Role::head : Role::mlp_out;
  for (const Module& module : plan_.model().modules())
    if (module.layer == layer && module.role == last) unused_outputs_.push_back(module.name);
}

void LayerTasks::finish_pass() {
  collector_.finish();
  for (const CalibratedActivation* activation : activations_) write(*activation);
  activations_.clear();
  std::vector<std::vector<WeightTask*>> by_inputs;
  const auto hessian_of = [this](const WeightTask& task) {
    return collector_.inputs(task.report().module).hessian.get();
  };
  std::map<std::string, float> largest;
  for (WeightTask* task : in_pass_) {
    task->observe(weight_of(*task), hessian_of(*task), threads_);
    const std::string& fused = task->quantization().fused;
    if (!fused.empty()) largest[fused] = std::max(largest[fused], task->encoder().largest_magnitude());
    if (by_inputs.empty() || hessian_of(*by_inputs.back().front()) != hessian_of(*task)) by_inputs.emplace_back();
    by_inputs.back().push_back(task);
  }
  for (WeightTask* task : in_pass_)
    if (const auto found = largest.find(task->quantization().fused); found != largest.end())
      task->encoder().share_largest_magnitude(found->second);
  for (const std::vector<WeightTask*>& tasks : by_inputs) quantize(tasks);
}

// Weights with the same inputs: their Hessian is factored once for all that ask for the same factor.
void LayerTasks::quantize(const std::vector<WeightTask*>& tasks) {
  std::optional<HessianFactor> found;
  std::optional<std::pair<double, bool>> asked;
  for (WeightTask* task : tasks) {
    const Collector::Inputs& inputs = collector_.inputs(task->report().module);
    const WeightQuantization& how = task->quantization();
    if (how.gptq && inputs.hessian) {
      const std::pair wanted(how.gptq->dampening_frac, how.args.actorder.has_value());
      if (asked != wanted) found = factor(*inputs.hessian, wanted.first, wanted.second, threads_);
      asked = wanted;
      written_.emplace_back(task, inputs.weight);
    }
    task->quantize(weight_of(*task), how.gptq && found ? &*found : nullptr, threads_);
    write(*task);
  }
  for (WeightTask* task : tasks) collector_.inputs(task->report().module).hessian.reset();
}

std::vector<ModuleReport> LayerTasks::finish() {
  for (auto& [task, weight] : written_) weight.copy_(read(task->tensor(), task->quantization()));
  return {report_.modules.begin() + static_cast<std::ptrdiff_t>(first_report_), report_.modules.end()};
}

// The layer's own, unless no token came by it.
at::Tensor LayerTasks::weight_of(const WeightTask& task) {
  const Collector::Inputs& inputs = collector_.inputs(task.report().module);
  return on_cpu(inputs.hessian ? inputs.weight : read_weight_(task.tensor().name));
}

// In the order of the plan, whichever run wrote them, in whatever passes.
CalibrationReport LayerTasks::report() const {
  std::map<std::string, size_t> place;
  for (const DataNeeds::Weight& weight : needs_.weights())
    place.emplace(std::string(parent_of(weight.tensor->name)), place.size());
  CalibrationReport sorted = report_;
  std::ranges::stable_sort(sorted.modules, {}, [&](const ModuleReport& module) { return place.at(module.module); });
  return sorted;
}

void LayerTasks::write(WeightTask& task) {
  output_.write(task.tensor(), task.bytes(), write_fields(task.report()));
  report_.modules.push_back(task.report());
}

void LayerTasks::write(const CalibratedActivation& activation) {
  const ActivationRange& range = collector_.range(activation);
  if (!range.empty()) return output_.write(activation, range.stored(output_.model_dtype()), Json());
  const ActivationRange lent = range_of_siblings(activation);
  if (lent.empty()) fail_unreached(activation);
  const ActivationReport report{activation.module, activation.place,
                                "no calibration token reached it; its scale is for all that the layer's other experts "
                                "saw (--calibration-all-experts shows every token to every expert)"};
  output_.write(activation, lent.stored(output_.model_dtype()), write_fields(report));
  report_.activations.push_back(report);
}

// vLLM, too, gives all experts of a layer the scale of the largest range, so that one more with that changes nothing.
ActivationRange LayerTasks::range_of_siblings(const CalibratedActivation& activation) const {
  ActivationRange range = collector_.range(activation);
  const Module* module = plan_.model().find(activation.module);
  if (!module || !module->expert) return range;
  for (const CalibratedActivation* other : activations_) {
    const Module* sibling = plan_.model().find(other->module);
    if (sibling && sibling->expert && sibling->role == module->role &&
        last_component(sibling->name) == last_component(module->name) && other->place == activation.place &&
        other->args == activation.args)
      range.widen(collector_.range(*other));
  }
  return range;
}

}  // namespace spinor::calibration
