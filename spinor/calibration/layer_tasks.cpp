#include "spinor/calibration/layer_tasks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/model/module_name.h"
#include "spinor/plan/calibration_share.h"
#include "spinor/plan/outputs.h"

namespace spinor::calibration {
namespace {

const Place kJournal{"", "journal"};

// Weights with the same key belong into one pass.
std::string task_key(const WeightTask& task, const Model& model) {
  return calibration_key(task.quantization(), task.tensor().name, model);
}

// The weight itself where it can be.
at::Tensor on_cpu(const at::Tensor& weight) {
  return weight.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

LayerTasks::LayerTasks(const RewritePlan& plan, const DataNeeds& needs, PreparedTensors& output, RankGroup& group,
                       ReadWeight read_weight, const Options& options)
    : plan_(plan),
      needs_(needs),
      output_(output),
      group_(group),
      read_weight_(std::move(read_weight)),
      threads_(options.threads),
      hessian_memory_(group.smallest({options.hessian_memory}).front()),
      sums_(group, options.threads, options.chunks, options.device),
      collector_(sums_, options.threads, options.all_experts) {
  find_finished_layers();
}

// All ranks go the same way.
void LayerTasks::find_finished_layers() {
  std::map<int64_t, int64_t> layers;
  const auto note = [&](int64_t layer, bool finished) {
    const auto [found, first] = layers.emplace(layer, finished);
    if (!first && !finished) found->second = false;
  };
  for (const DataNeeds::Weight& weight : needs_.weights())
    note(weight.layer, output_.finished(*weight.tensor).has_value());
  for (const CalibratedActivation& activation : plan_.calibrated())
    note(activation.layer, output_.finished(activation).has_value());
  std::vector<int64_t> finished;
  for (const auto& [layer, all] : layers) finished.push_back(all);
  finished = group_.smallest(std::move(finished));
  auto all = finished.begin();
  for (const auto& [layer, mine] : layers)
    if (*all++) finished_layers_.insert(layer);
}

void LayerTasks::begin(int64_t layer) {
  weights_.clear();
  activations_.clear();
  unused_outputs_.clear();
  in_pass_.clear();
  finished_.clear();
  found_.clear();
  collector_.clear();
  collector_.forget_layer();
  next_ = 0;
  const bool finished = finished_layers_.contains(layer);
  for (const auto& [tensor, quantization, in] : needs_.weights()) {
    if (in != layer) continue;
    if (finished)
      take_finished(*tensor, *quantization);
    else
      weights_.push_back(std::make_unique<WeightTask>(*tensor, *quantization, output_.dtype(*tensor)));
  }
  sort_by_inputs();
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (activation.layer == layer && !finished) activations_.push_back(&activation);
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
  const bool first = next_ == 0 && in_pass_.empty();
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
    in_pass_.push_back(&task);
  }
  share_out();
  for (const WeightTask* task : in_pass_)
    collector_.want(task->report().module, task->by_gptq() ? HessianPart::whole : HessianPart::diagonal,
                    owners_.at(task));
  return true;
}

void LayerTasks::share_out() {
  std::map<std::string, double> costs;
  for (const WeightTask* task : in_pass_) {
    const WeightLayout& layout = task->layout();
    costs[task_key(*task, plan_.model())] += calibration_cost(task->quantization(), layout.rows, layout.cols);
  }
  const std::map<std::string, int> owners = calibration_owners(costs, group_.ranks());
  owners_.clear();
  for (const WeightTask* task : in_pass_) owners_[task] = owners.at(task_key(*task, plan_.model()));
}

// Of those with the inputs of this one, which are side by side.
int64_t LayerTasks::hessian_bytes(size_t first) const {
  const std::string key = task_key(*weights_[first], plan_.model());
  for (size_t i = first; i < weights_.size() && task_key(*weights_[i], plan_.model()) == key; ++i)
    if (const WeightTask& task = *weights_[i]; task.by_gptq()) return 4 * task.inputs() * task.inputs();
  return 0;
}

void LayerTasks::take_finished(const TensorPlan& tensor, const WeightQuantization& quantization) {
  const auto report = read_fields<ModuleReport>(*output_.finished(tensor), kJournal);
  if (quantization.gptq && report.tokens > 0) finished_[tensor.name] = read(tensor, quantization);
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
  if (group_.rank() == 0)
    for (const CalibratedActivation* activation : activations_) write(*activation);
  activations_.clear();
  std::vector<std::vector<WeightTask*>> by_inputs;
  const auto hessian_of = [this](const WeightTask& task) { return collector_.hessian(task.report().module).get(); };
  std::map<std::string, float> largest;
  for (WeightTask* task : in_pass_) {
    if (owners_.at(task) != group_.rank()) continue;
    task->observe(weight_of(*task), hessian_of(*task), threads_);
    const std::string& fused = task->quantization().fused;
    if (!fused.empty()) largest[fused] = std::max(largest[fused], task->encoder().largest_magnitude());
    if (by_inputs.empty() || hessian_of(*by_inputs.back().front()) != hessian_of(*task)) by_inputs.emplace_back();
    by_inputs.back().push_back(task);
  }
  for (const std::vector<WeightTask*>& tasks : by_inputs)
    for (WeightTask* task : tasks)
      if (const auto found = largest.find(task->quantization().fused); found != largest.end())
        task->encoder().share_largest_magnitude(found->second);
  for (const std::vector<WeightTask*>& tasks : by_inputs) quantize(tasks);
}

// Weights with the same inputs: their Hessian is factored once for all that ask for the same factor.
void LayerTasks::quantize(const std::vector<WeightTask*>& tasks) {
  std::optional<HessianFactor> found;
  std::optional<std::pair<double, bool>> asked;
  for (WeightTask* task : tasks) {
    const std::shared_ptr<Hessian> hessian = collector_.hessian(task->report().module);
    const WeightQuantization& how = task->quantization();
    if (how.gptq && hessian) {
      const std::pair wanted(how.gptq->dampening_frac, how.args.actorder.has_value());
      if (asked != wanted) found = factor(*hessian, wanted.first, wanted.second, threads_);
      asked = wanted;
    }
    task->quantize(weight_of(*task), how.gptq && found ? &*found : nullptr, threads_);
    write(*task);
  }
  for (WeightTask* task : tasks) collector_.hessian(task->report().module).reset();
}

// A weight that no token reached has the nearest codes, and what its layer gives is the same without them.
std::vector<ModuleReport> LayerTasks::finish() {
  std::vector<int64_t> tokens;  // as their owners know them
  for (const auto& task : weights_) tokens.push_back(task->report().tokens);
  output_.share();
  tokens = group_.largest(std::move(tokens));
  for (size_t i = 0; i < weights_.size(); ++i) {
    const WeightTask& task = *weights_[i];
    at::Tensor weight = collector_.weight(task.report().module);
    if (task.by_gptq() && tokens[i] > 0 && weight.defined()) weight.copy_(read(task.tensor(), task.quantization()));
  }
  return found_;
}

// The layer's own, unless no layer was made of it.
at::Tensor LayerTasks::weight_of(const WeightTask& task) {
  const at::Tensor weight = collector_.weight(task.report().module);
  return on_cpu(weight.defined() ? weight : read_weight_(task.tensor().name));
}

CalibrationReport LayerTasks::report() {
  output_.take_over();
  CalibrationReport report;
  for (const DataNeeds::Weight& weight : needs_.weights())
    report.modules.push_back(read_fields<ModuleReport>(output_.finished(*weight.tensor).value(), kJournal));
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (const Json note = output_.finished(activation).value(); !note.is_null())
      report.activations.push_back(read_fields<ActivationReport>(note, kJournal));
  return report;
}

void LayerTasks::write(WeightTask& task) {
  output_.write(task.tensor(), task.bytes(), write_fields(task.report()));
  found_.push_back(task.report());
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
