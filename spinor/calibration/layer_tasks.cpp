#include "spinor/calibration/layer_tasks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/model/module_name.h"
#include "spinor/plan/outputs.h"

namespace spinor {
namespace {

// Of each weight that needs data the layer of its module.
template <typename Visit>
void for_weights(const RewritePlan& plan, Visit visit) {
  for (const TensorPlan& tensor : plan.tensors()) {
    const WeightQuantization* quantization = quantization_of(tensor.edits);
    if (!quantization || !quantization->needs_data()) continue;
    const Module* module = plan.model().owner(tensor.name);
    visit(tensor, *quantization, module ? module->layer : -1);
  }
}

// Weights with the same key read the same, or share a scale, and so belong into one pass.
std::string inputs_key(const WeightTask& task, const Model& model) {
  if (const std::string& fused = task.quantization().fused; !fused.empty()) return fused;
  const Module* module = model.owner(task.tensor().name);
  if (!module) return task.tensor().name;
  const bool attention = module->role == Role::attn_q || module->role == Role::attn_k || module->role == Role::attn_v;
  const bool shared = attention || module->role == Role::mlp_in;
  return shared ? fmt::format("{} {}", parent_of(module->name), attention ? "attention" : "mlp") : module->name;
}

// The weight itself where it can be.
at::Tensor on_cpu(const at::Tensor& weight) {
  return weight.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

LayerTasks::LayerTasks(const RewritePlan& plan, PreparedTensors& output, int threads, int64_t hessian_memory)
    : plan_(plan), output_(output), threads_(threads), hessian_memory_(hessian_memory), collector_(threads) {}

bool LayerTasks::any_after_layers() const {
  bool any = std::ranges::any_of(plan_.calibrated(), [](const CalibratedActivation& a) { return a.layer < 0; });
  for_weights(plan_, [&](const TensorPlan&, const WeightQuantization&, int64_t layer) { any |= layer < 0; });
  return any;
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
  for_weights(plan_, [&](const TensorPlan& tensor, const WeightQuantization& quantization, int64_t in) {
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
    if (inputs != key && task.by_gptq()) bytes += 4 * task.inputs() * task.inputs();
    if (inputs != key && !in_pass_.empty() && bytes > hessian_memory_) break;
    key = inputs;
    collector_.want(task.report().module, task.by_gptq() ? HessianPart::whole : HessianPart::diagonal);
    in_pass_.push_back(&task);
  }
  return true;
}

bool LayerTasks::is_finished(int64_t layer) const {
  bool finished = true;
  for_weights(plan_, [&](const TensorPlan& tensor, const WeightQuantization&, int64_t in) {
    finished = finished && (in != layer || output_.finished(tensor));
  });
  for (const CalibratedActivation& activation : plan_.calibrated())
    finished = finished && (activation.layer != layer || output_.finished(activation));
  return finished;
}

void LayerTasks::take_finished(const TensorPlan& tensor, const WeightQuantization& quantization) {
  if (quantization.gptq) finished_[tensor.name] = read(tensor, quantization);
  report_.modules.push_back(read_fields<ModuleReport>(*output_.finished(tensor), {"", "journal"}));
  warn_about(report_.modules.back());
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
    const Collector::Inputs& inputs = collector_.inputs(task->report().module);
    if (!inputs.hessian) {
      report_.warnings.push_back(fmt::format(
          "{}: no calibration token reached it; its weights take the nearest codes{}", task->report().module,
          task->quantization().importance ? ", and its inputs weigh the same in the search for scales" : ""));
      continue;
    }
    task->observe(on_cpu(inputs.weight), *inputs.hessian, threads_);
    const std::string& fused = task->quantization().fused;
    if (!fused.empty()) largest[fused] = std::max(largest[fused], task->encoder().largest_magnitude());
    if (by_inputs.empty() || hessian_of(*by_inputs.back().front()) != inputs.hessian.get()) by_inputs.emplace_back();
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
    if (how.gptq) {
      const std::pair wanted(how.gptq->dampening_frac, how.args.actorder.has_value());
      if (asked != wanted) found = factor(*inputs.hessian, wanted.first, wanted.second);
      asked = wanted;
      written_.emplace_back(task, inputs.weight);
    }
    task->quantize(on_cpu(inputs.weight), *inputs.hessian, found ? &*found : nullptr, threads_);
    write(*task);
  }
  for (WeightTask* task : tasks) collector_.inputs(task->report().module).hessian.reset();
}

std::vector<ModuleReport> LayerTasks::finish() {
  for (auto& [task, weight] : written_) weight.copy_(read(task->tensor(), task->quantization()));
  return {report_.modules.begin() + static_cast<std::ptrdiff_t>(first_report_), report_.modules.end()};
}

void LayerTasks::write(WeightTask& task) {
  output_.write(task.tensor(), task.bytes(), write_fields(task.report()));
  report_.modules.push_back(task.report());
  warn_about(task.report());
}

void LayerTasks::write(const CalibratedActivation& activation) {
  const ActivationRange& range = collector_.range(activation);
  if (range.empty())
    throw Error(activation.module,
                fmt::format("no calibration token reached it, so its {} has no scale", activation.place),
                "use more samples, or name it in ignore");
  output_.write(activation, range.stored(output_.model_dtype()));
}

void LayerTasks::warn_about(const ModuleReport& module) {
  if (module.quantized == "nearest")
    report_.warnings.push_back(module.module +
                               ": its Hessian has no Cholesky factor, even with 1000 times the "
                               "dampening; its weights take the nearest codes");
  else if (module.tokens < module.inputs)
    report_.warnings.push_back(fmt::format("{}: only {} calibration tokens reached it, fewer than it has inputs ({})",
                                           module.module, module.tokens, module.inputs));
  if (module.dead_columns > 0)
    report_.warnings.push_back(
        fmt::format("{}: {} of its inputs are always 0 on the calibration text; their weights "
                    "are 0 now",
                    module.module, module.dead_columns));
}

}  // namespace spinor
