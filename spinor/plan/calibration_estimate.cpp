#include "spinor/plan/calibration_estimate.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "spinor/family/architecture.h"
#include "spinor/family/forward_row.h"
#include "spinor/model/forward_config.h"
#include "spinor/plan/calibration_share.h"

namespace spinor {
namespace {

constexpr double kFloat = sizeof(float);

// Weights that read the same.
struct Group {
  double inputs = 0, cost = 0, tokens = 0;  // columns, multiplications, tokens of all samples
  bool whole = false;                       // X'X, or its diagonal

  double sums() const { return whole ? inputs * inputs / 2 : inputs; }
};

struct LayerSize {
  double weights = 0;    // numbers
  double products = 0;   // multiplications of all samples
  bool changes = false;  // by GPTQ, so that samples run through it twice
  std::map<std::string, Group> groups = {};
};

class Estimator {
 public:
  Estimator(const RewritePlan& plan, const CalibrationSize& size) : plan_(plan), size_(size) {
    tokens_ = static_cast<double>(size.samples * size.context);
    const Model& model = plan.model();
    if (!model.architecture() || !model.architecture()->forward) return;  // which does not run
    const ForwardConfig forward = read_forward_config(model);
    std::map<int, double> experts;
    for (const Module& module : model.modules())
      if (module.expert && module.role == Role::mlp_out)
        experts[module.layer] += static_cast<double>(module.shape.count);
    for (const auto& [layer, count] : experts)
      if (forward.router) active_[layer] = std::min(1.0, static_cast<double>(forward.router->chosen) / count);
  }

  CalibrationEstimate run() {
    collect();
    CalibrationEstimate result{.chunks = (size_.samples + kSamplesInChunk - 1) / kSamplesInChunk};
    const int64_t of_one = (result.chunks + size_.ranks - 1) / size_.ranks;  // chunks
    share_ = std::min(1.0, static_cast<double>(of_one * kSamplesInChunk) / static_cast<double>(size_.samples));
    for (const auto& [index, layer] : layers_) add(layer, of_one, result);
    const Model& model = plan_.model();
    result.stream = static_cast<int64_t>(share_ * tokens_ * static_cast<double>(model.hidden_size()) * kFloat);
    for (const TensorPlan& tensor : plan_.tensors()) result.read += tensor.source->info.bytes();
    return result;
  }

 private:
  double tokens_of(const Module& module) const {
    const auto active = active_.find(module.layer);
    return module.expert && active != active_.end() ? tokens_ * active->second : tokens_;
  }

  void collect() {
    for (const Module& module : plan_.model().modules())
      if (module.kind == ModuleKind::linear && module.layer >= 0 && plan_.model().is_in_layers(module)) {
        const double weights = static_cast<double>(module.shape.out * module.shape.in * module.shape.count);
        layers_[module.layer].weights += weights;
        layers_[module.layer].products += weights * tokens_of(module);
      }
    for (const TensorPlan& tensor : plan_.tensors()) {
      const WeightQuantization* quantization = quantization_of(tensor.edits);
      const Module* module = plan_.model().owner(tensor.name);
      if (!quantization || !quantization->needs_data() || !module || !layers_.contains(module->layer)) continue;
      LayerSize& layer = layers_[module->layer];
      layer.changes = layer.changes || quantization->gptq.has_value();
      Group& group = layer.groups[calibration_key(*quantization, tensor.name, plan_.model())];
      group.inputs = static_cast<double>(module->shape.in);
      group.tokens = tokens_of(*module);
      group.whole = group.whole || quantization->gptq.has_value();
      group.cost += calibration_cost(*quantization, module->shape.out, module->shape.in);
    }
  }

  void add(const LayerSize& layer, int64_t chunks, CalibrationEstimate& result) const {
    std::map<std::string, double> costs;
    for (const auto& [key, group] : layer.groups) costs[key] = group.cost;
    std::vector<double> codes(static_cast<size_t>(size_.ranks)), held(codes.size());
    double products = (layer.changes ? 2 : 1) * layer.products, sent = 0, outgoing = 0;
    for (const auto& [key, owner] : calibration_owners(costs, size_.ranks)) {
      const Group& group = layer.groups.at(key);
      codes[static_cast<size_t>(owner)] += group.cost;
      held[static_cast<size_t>(owner)] += group.whole ? group.inputs * group.inputs : group.inputs;
      products += group.tokens * group.sums();
      const double of_chunk =
          group.tokens / static_cast<double>((size_.samples + kSamplesInChunk - 1) / kSamplesInChunk);
      const double message = std::min(of_chunk * group.inputs, group.sums());
      sent += static_cast<double>(chunks) * message;
      outgoing += message;
    }
    const double others = static_cast<double>(size_.ranks - 1) / size_.ranks;
    result.samples += 2 * share_ * products;
    result.codes += 2 * std::ranges::max(codes);
    result.sent += static_cast<int64_t>(others * sent * kFloat);
    const double memory = layer.weights + std::ranges::max(held) + others * outgoing;
    result.memory = std::max(result.memory, static_cast<int64_t>(memory * kFloat));
  }

  const RewritePlan& plan_;
  CalibrationSize size_;
  double tokens_ = 0, share_ = 1;
  std::map<int, double> active_;  // of a layer's experts, by a token
  std::map<int, LayerSize> layers_;
};

}  // namespace

CalibrationEstimate estimate_calibration(const RewritePlan& plan, const CalibrationSize& size) {
  return plan.needs_data().empty() ? CalibrationEstimate() : Estimator(plan, size).run();
}

}  // namespace spinor
