#include "spinor/calibration/data_needs.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <variant>

#include "spinor/base/error.h"
#include "spinor/family/architecture.h"
#include "spinor/family/forward_row.h"

namespace spinor::calibration {

DataNeeds::DataNeeds(const RewritePlan& plan) : plan_(plan) {
  std::set<std::string> fused;
  for (const TensorPlan& tensor : plan.tensors()) {
    const WeightQuantization* quantization = quantization_of(tensor.edits);
    if (!quantization || !std::holds_alternative<Quantize>(tensor.edits.back())) continue;
    const Module* module = plan.model().owner(tensor.name);
    weights_.push_back({&tensor, quantization, module ? module->layer : -1});
    if (quantization->needs_data() && !quantization->fused.empty()) fused.insert(quantization->fused);
  }
  std::erase_if(weights_, [&](const Weight& weight) {
    return !weight.quantization->needs_data() && !fused.contains(weight.quantization->fused);
  });
}

bool DataNeeds::any_at_head() const {
  const Model& model = plan_.model();
  const Module* projection = model.outer(model.architecture()->forward->project_out);
  const auto reached = [&](const Module* module) { return module && (module == model.head() || module == projection); };
  return std::ranges::any_of(plan_.calibrated(),
                             [&](const CalibratedActivation& a) { return reached(model.find(a.module)); }) ||
         std::ranges::any_of(weights_, [&](const Weight& w) { return reached(model.owner(w.tensor->name)); });
}

std::vector<int64_t> DataNeeds::layers_beyond(int64_t layers) const {
  std::set<int64_t> found;
  for (const Weight& weight : weights_)
    if (weight.layer >= layers) found.insert(weight.layer);
  return {found.begin(), found.end()};
}

void DataNeeds::check_beyond(int64_t layers) const {
  for (const CalibratedActivation& activation : plan_.calibrated())
    if (activation.layer >= layers) fail_unreached(activation);
  for (const Weight& weight : weights_)
    if (weight.layer >= layers && weight.quantization->importance && weight.quantization->observer.strict)
      throw Error(weight.tensor->name, "no text runs through it, and its imatrix observer is strict",
                  "name it in ignore (--ignore by command), or leave strict out");
}

void fail_unreached(const CalibratedActivation& activation) {
  throw Error(activation.module,
              fmt::format("no calibration token reached it, so its {} has no scale", activation.place),
              "use more --calibration-samples, or name it in ignore (--ignore by command)");
}

}  // namespace spinor::calibration
