#include "spinor/plan/calibration_share.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "spinor/model/inputs_key.h"

namespace spinor {

std::string calibration_key(const WeightQuantization& quantization, const std::string& tensor, const Model& model) {
  if (!quantization.fused.empty()) return quantization.fused;
  const Module* module = model.owner(tensor);
  return module ? inputs_key(*module) : tensor;
}

// GPTQ itself, and what the rows' outputs were and are; imatrix tries about so many scales.
double calibration_cost(const WeightQuantization& quantization, int64_t rows, int64_t cols) {
  constexpr double kScales = 100;
  const auto r = static_cast<double>(rows), c = static_cast<double>(cols);
  return quantization.gptq ? c * c * (c / 3 + 3 * r) : kScales * r * c;
}

std::map<std::string, int> calibration_owners(const std::map<std::string, double>& costs, int ranks) {
  std::vector<std::pair<double, std::string>> dearest;
  for (const auto& [key, cost] : costs) dearest.emplace_back(-cost, key);
  std::ranges::sort(dearest);
  std::vector<double> loads(static_cast<size_t>(ranks));
  std::map<std::string, int> owners;
  for (const auto& [cost, key] : dearest) {
    const auto least = std::ranges::min_element(loads);
    *least -= cost;
    owners[key] = static_cast<int>(least - loads.begin());
  }
  return owners;
}

}  // namespace spinor
