// learning_step ROWS.safetensors QUANTIZERS.json OUT.safetensors: of each objective, on float64 tensors rows, weights,
// rotation and ones (a rotation that fixes the ones), the loss, its gradient, and R after two steps of each optimizer.
// QUANTIZERS: {"name": QuantizationArgs} for "quantization"; results are called "quantization name.loss", ...
#include <ATen/ATen.h>

#include "spinor/base/json.h"
#include "spinor/io/file.h"
#include "spinor/learning/cayley.h"
#include "spinor/learning/objective.h"
#include "tests/learning/program.h"
#include "tests/learning/tensors.h"

namespace spinor::learning {
namespace {

struct Optimizer {
  const char* name;
  CayleyOptions options;
};
const Optimizer kOptimizers[] = {
    {"adam", {.learning_rate = 0.004, .steps = 10}},
    {"sgd", {.rule = StepRule::sgd, .learning_rate = 1.5, .momentum = 0.5, .steps = 10}},
    {"small sgd", {.rule = StepRule::sgd, .learning_rate = 1e-4, .momentum = 0.5, .steps = 10}},
    {"ones", {.learning_rate = 0.004, .steps = 10, .fixes_ones = true}},
};

void compute(const std::string& name, const Objective& objective, const RowQuantizer* quantizer, const Tensors& given,
             Tensors& results) {
  const at::Tensor &rows = given.at("rows"), &weights = given.at("weights");
  const auto at_rotation = [&](const at::Tensor& r) {
    const at::Tensor y = rows.mm(r);
    const RowLoss found = evaluate(objective, y, weights, quantizer);
    return std::pair(found.loss, rotation_gradient(y, found.gradient, r.size(0)).contiguous());
  };
  const auto [loss, gradient] = at_rotation(given.at("rotation"));
  results[name + ".loss"] = at::full({1}, loss, at::kDouble);
  results[name + ".gradient"] = gradient;
  for (const Optimizer& with : kOptimizers) {
    CayleyOptimizer optimizer(given.at(with.options.fixes_ones ? "ones" : "rotation"), with.options);
    for (int step = 0; step < 2; ++step) optimizer.step(at_rotation(optimizer.rotation()).second);
    results[name + "." + with.name] = optimizer.rotation().contiguous();
  }
}

void run(char** arguments) {
  const Tensors given = read_tensors(arguments[1]);
  const Json quantizers = parse_json(read_text(arguments[2]), arguments[2]);
  Tensors results;
  for (const Objective& objective : objectives()) {
    if (objective.of_network()) continue;  // network_step.cpp
    const std::string name(objective.name);
    if (!objective.needs_quantizer) {
      compute(name, objective, nullptr, given, results);
      continue;
    }
    for (const auto& [which, json] : quantizers.items()) {
      std::optional<QuantizationArgs> args;
      read_value(json, ArgsField{args}, Place());
      const RowQuantizer quantizer{*args};
      compute(name + " " + which, objective, &quantizer, given, results);
    }
  }
  write_tensors(arguments[3], results);
}

}  // namespace
}  // namespace spinor::learning

int main(int argc, char** argv) {
  return spinor::learning::run_program(argc, argv, 4, spinor::learning::run);
}
