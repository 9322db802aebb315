#include "spinor/calibration/layer_tasks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "spinor/base/error.h"
#include "spinor/model/architecture.h"
#include "spinor/model/forward_row.h"
#include "spinor/model/module_name.h"
#include "spinor/plan/outputs.h"

namespace spinor {
namespace {

// Weights with the same key read the same, or share a scale, and so belong into one pass.
std::string inputs_key(const WeightTask& task, const Model& model) {
  if (const std::string& fused = task.quantization().fused; !fused.empty()) return fused;
  const Module* module = model.owner(task.tensor().name);
  if (!module) return task.tensor().name;
  const bool attention = module->role == Role::attn_q || module->role == Role::attn_k || module->role == Role::attn_v;
  const bool shared = attention || module->role == Role::mlp_in;
  return shared ? fmt::format("{} {}", parent_of(module->name), attention ? "attention" : "mlp") : module->name;
}

[[noreturn]] void fail_unreached(const CalibratedActivation& activation) {
  throw Error(activation.module,
              fmt::format("no calibration token reached it, so its {} has no scale", activation.place),
              "use more samples, or name it in ignore");
}

// The weight itself where it can be.
at::Tensor on_cpu(const at::Tensor& weight) {
  return weight.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

LayerTasks::LayerTasks(const RewritePlan& plan, PreparedTensors& output, ReadWeight read_weight, int threads,
                       int64_t hessian_memory)
    : plan_(plan),
      output_(output),
      read_weight_(std::move(read_weight)),
      threads_(threads),
      hessian_memory_(hessian_memory),
      collector_(threads) {
  for_weights([&](const TensorPlan&, const WeightQuantization& quantization, int64_t) {
    if (!quantization.fused.empty()) fused_.insert(quantization.fused);
  });
}

// Of each weight that needs data, or shares a scale with one that does, the layer of its module.
template <typename Visit>
void LayerTasks::for_weights(Visit visit) const {
  for (const TensorPlan& tensor : plan_.tensors()) {
    const WeightQuantization* quantization = quantization_of(tensor.edits);
    if (!quantization || !std::holds_alternative<Quantize>(tensor.edits.back())) continue;
    if (!quantization->needs_data() && !fused_.contains(quantization->fused)) continue;
    const Module* module = plan_.model().owner(tensor.name);
    visit(tensor, *quantization, module ? module->layer : -1);
  }
}

bool LayerTasks::any_after_layers() const {
  const Model& model = plan_.model();
  const Module* projection = model.outer(model.architecture()->forward->project_out);
  const auto reached = [&](const Module* module) { return module && (module == model.head() || module == projection); };
  bool any = std::ranges::any_of(plan_.calibrated(),
                                 [&](const CalibratedActivation& a) { return reached(model.find(a.module)); });
  for_weights([&](const TensorPlan& tensor, const WeightQuantization&, int64_t) {
    any = any || reached(model.owner(tensor.name));
  });
  return any;
}

void LayerTasks::check_beyond(int64_t layers) const {
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (activation.layer >= layers) fail_unreached(activation);
  for_weights([&](const TensorPlan& tensor, const WeightQuantization& quantization, int64_t layer) {
    if (layer >= layers && quantization.importance && quantization.observer.strict)
      throw Error(tensor.name, "no text runs through it, and its imatrix observer is strict",
                  "name it in ignore, or leave strict out");
  });
}

std::vector<int64_t> LayerTasks::layers_beyond(int64_t layers) const {
  std::set<int64_t> found;
  for_weights([&](const TensorPlan&, const WeightQuantization&, int64_t layer) {
    if (layer >= layers) found.insert(layer);
  });
  return {found.begin(), found.end()};
}

void LayerTasks::begin(int64_t layer) {
  weights_.clear();
  activations_.clear();
  unused_outputs_.clear();
  written_.clear();
  finished_.clear();
  collector_.clear();
  next_ = 0;
  const bool finished = is_finished(layer);
  for_weights([&](const TensorPlan& tensor, const WeightQuantization& quantization, int64_t in) {
    if (in != layer) return;
    if (finished) return take_finished(tensor, quantization);
    weights_.push_back(std::make_unique<WeightTask>(tensor, quantization, output_.dtype(tensor)));
  });
  sort_by_inputs();
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (activation.layer == layer && !finished) activations_.push_back(&activation);
  first_report_ = report_.modules.size();
}

// Those with the same inputs side by side, else as they come.
void LayerTasks::sort_by_inputs() {
  std::map<std::string, size_t> order;
  std::vector<std::pair<size_t, std::unique_ptr<WeightTask>>> tasks;
  for (auto& task : weights_) {
    const size_t place = order.emplace(inputs_key(*task, plan_.model()), order.size()).first->second;
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
    const std::string inputs = inputs_key(task, plan_.model());
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
  const std::string key = inputs_key(*weights_[first], plan_.model());
  for (size_t i = first; i < weights_.size() && inputs_key(*weights_[i], plan_.model()) == key; ++i)
    if (const WeightTask& task = *weights_[i]; task.by_gptq()) return 4 * task.inputs() * task.inputs();
  return 0;
}

bool LayerTasks::is_finished(int64_t layer) const {
  bool finished = true;
  for_weights([&](const TensorPlan& tensor, const WeightQuantization&, int64_t in) {
    finished = finished && (in != layer || output_.finished(tensor));
  });
  for (const CalibratedActivation& activation : plan_.calibrated())
    finished = finished && (activation.layer != layer || output_.finished(activation));
  return finished;
}

void LayerTasks::take_finished(const TensorPlan& tensor, const WeightQuantization& quantization) {
  report_.modules.push_back(read_fields<ModuleReport>(*output_.finished(tensor), {"", "journal"}));
  if (quantization.gptq && report_.modules.back().tokens > 0) finished_[tensor.name] = read(tensor, quantization);
}

at::Tensor LayerTasks::read(const TensorPlan& tensor, const WeightQuantization& quantization) const {
  return WeightTask::read(tensor, quantized_layout(tensor, quantization, output_.dtype(tensor)), output_.read(tensor));
}

// The last linears of a layer: what they give goes into the stream, and that is made anew with the quantized layer.
void LayerTasks::skip_last(int64_t layer) {
  for (const Module& module : plan_.model().modules())
    if (module.layer == layer && module.role == Role::mlp_out) unused_outputs_.push_back(module.name);
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
      if (asked != wanted) found = factor(*inputs.hessian, wanted.first, wanted.second);
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
  for_weights([&](const TensorPlan& tensor, const WeightQuantization&, int64_t) {
    place.emplace(std::string(parent_of(tensor.name)), place.size());
  });
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
  if (range.empty()) fail_unreached(activation);
  output_.write(activation, range.stored(output_.model_dtype()));
}

}  // namespace spinor
