#include "spinor/calibration/layer_tasks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/plan/outputs.h"

namespace spinor {
namespace {

// Of each weight that needs data the layer of its module.
template <typename Visit>
void for_weights(const RewritePlan& plan, Visit visit) {
  for (const TensorPlan& tensor : plan.tensors()) {
    const WeightQuantization* quantization = quantization_of(tensor.edits);
    if (!quantization || !quantization->gptq) continue;
    const Module* module = plan.model().owner(tensor.name);
    visit(tensor, *quantization, module ? module->layer : -1);
  }
}

// The weight itself where it can be.
at::Tensor on_cpu(const at::Tensor& weight) {
  return weight.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

LayerTasks::LayerTasks(const RewritePlan& plan, PreparedTensors& output, int threads)
    : plan_(plan), output_(output), threads_(threads) {}

bool LayerTasks::any_after_layers() const {
  bool any = std::ranges::any_of(plan_.calibrated(), [](const CalibratedActivation& a) { return a.layer < 0; });
  for_weights(plan_, [&](const TensorPlan&, const WeightQuantization&, int64_t layer) { any |= layer < 0; });
  return any;
}

void LayerTasks::begin(int64_t layer) {
  weights_.clear();
  activations_.clear();
  finished_.clear();
  collector_.clear();
  const bool finished = is_finished(layer);
  for_weights(plan_, [&](const TensorPlan& tensor, const WeightQuantization& quantization, int64_t in) {
    if (in != layer) return;
    if (finished) return take_finished(tensor, quantization);
    weights_.push_back(std::make_unique<WeightTask>(tensor, quantization, output_.dtype(tensor)));
    collector_.want(weights_.back()->report().module);
  });
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (activation.layer == layer && !finished) {
      activations_.push_back(&activation);
      collector_.want(activation);
    }
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
  const WeightLayout layout = quantized_layout(tensor, quantization, output_.dtype(tensor));
  finished_[tensor.name] = WeightTask::read(tensor, layout, output_.read(tensor));
  report_.modules.push_back(read_fields<ModuleReport>(*output_.finished(tensor), {"", "journal"}));
  warn_about(report_.modules.back());
}

// The last linears of a layer: what they give goes into the stream, and that is made anew with the quantized layer.
void LayerTasks::skip_last(int64_t layer) {
  for (const Module& module : plan_.model().modules())
    if (module.layer == layer && module.role == Role::mlp_out) collector_.skip(module.name);
}

std::vector<ModuleReport> LayerTasks::finish() {
  collector_.finish();
  for (const CalibratedActivation* activation : activations_) write(*activation);
  const size_t before = report_.modules.size();
  std::map<const Hessian*, std::vector<WeightTask*>> by_inputs;
  std::vector<const Hessian*> order;
  std::map<std::string, float> largest;
  for (const auto& task : weights_) {
    Collector::Inputs& inputs = collector_.inputs(task->report().module);
    if (!inputs.hessian) {
      report_.warnings.push_back(task->report().module +
                                 ": no calibration token reached it; its weights take the nearest codes");
      continue;
    }
    task->observe(on_cpu(inputs.weight), threads_);
    const std::string& fused = task->quantization().fused;
    if (!fused.empty()) largest[fused] = std::max(largest[fused], task->encoder().largest_magnitude());
    if (!by_inputs.contains(inputs.hessian.get())) order.push_back(inputs.hessian.get());
    by_inputs[inputs.hessian.get()].push_back(task.get());
  }
  for (const auto& task : weights_)
    if (const auto found = largest.find(task->quantization().fused); found != largest.end())
      task->encoder().share_largest_magnitude(found->second);
  for (const Hessian* inputs : order) quantize(by_inputs[inputs]);
  return {report_.modules.begin() + static_cast<std::ptrdiff_t>(before), report_.modules.end()};
}

// Weights with the same inputs: their Hessian is factored once for all that ask for the same factor.
void LayerTasks::quantize(std::vector<WeightTask*> tasks) {
  std::optional<HessianFactor> found;
  std::optional<std::pair<double, bool>> asked;
  for (WeightTask* task : tasks) {
    Collector::Inputs& inputs = collector_.inputs(task->report().module);
    const WeightQuantization& how = task->quantization();
    const std::pair wanted(how.gptq->dampening_frac, how.args.actorder.has_value());
    if (asked != wanted) found = factor(*inputs.hessian, wanted.first, wanted.second);
    asked = wanted;
    at::Tensor weight = on_cpu(inputs.weight);
    task->quantize(weight, *inputs.hessian, found ? &*found : nullptr, threads_);
    inputs.weight.copy_(weight);
    write(*task);
  }
  for (WeightTask* task : tasks) collector_.inputs(task->report().module).hessian.reset();
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
