// network_step MODEL DRAWN.safetensors START.safetensors TOKENS.json OUT.safetensors: of each objective of the network,
// in float64, with int4 activations and KV cache: the loss of the first sample, its gradient, and R1, R2.<layer> after
// two steps on it. R1 to R4, R1 and R2 those of DRAWN in the model and those of START in front of the quantizers.
// TOKENS: samples of equal length; the second one judges.
#include <ATen/ATen.h>

#include <array>

#include "spinor/base/json.h"
#include "spinor/io/file.h"
#include "spinor/learning/end_to_end.h"
#include "spinor/learning/frames.h"
#include "spinor/learning/judge.h"
#include "spinor/learning/network.h"
#include "spinor/runtime/matrices.h"
#include "spinor/transform/given_rotations.h"
#include "tests/learning/program.h"
#include "tests/learning/tensors.h"

namespace spinor::learning {
namespace {

Matrix<double> matrix_of(const at::Tensor& tensor) {
  Matrix<double> m(tensor.size(0), tensor.size(1));
  std::copy_n(tensor.const_data_ptr<double>(), m.data.size(), m.data.begin());
  return m;
}

calibration::Samples read_samples(const char* path) {
  calibration::Samples samples;
  for (const Json& sample : parse_json(read_text(path), path)) {
    samples.context = std::ssize(sample);
    ++samples.count;
    for (const Json& token : sample) samples.tokens.push_back(token.get<int32_t>());
  }
  return samples;
}

runtime::RuntimeOptions low_bits() {
  runtime::RuntimeOptions options{.dtype = DType::F64};
  options.activations = options.kv = runtime::LowBits{.bits = 4};
  return options;
}

void run(char** arguments) {
  const Model model = Model::open(arguments[1]);
  RotateOptions options{.spin = {.rotations = {Spin::R1, Spin::R2, Spin::R3, Spin::R4}, .transform_type = "hadamard"}};
  options.spin.given = read_rotations(arguments[2], model);
  const RewritePlan plan = rotated_plan(model, options);
  const Tensors drawn = read_tensors(arguments[2]), start = read_tensors(arguments[3]);
  const calibration::Samples samples = read_samples(arguments[4]);
  std::map<std::string, Starting> rotations;
  Tensors frames_of_start, results;
  for (const auto& [name, r] : drawn) {
    rotations[name] = {matrix_of(r), matrix_of(start.at(name))};
    frames_of_start[name] = r.t().mm(start.at(name));
  }
  for (const Objective& objective : objectives()) {
    if (!objective.of_network()) continue;
    const std::string name(objective.name);
    Frames frames(plan, frames_of_start, low_bits());
    Network network(plan, samples, objective, frames, low_bits());
    const std::array<int64_t, 1> first = {0};
    results[name + ".loss"] = at::full({1}, network.add_gradient(first), at::kDouble);
    for (const auto& [rotation, p] : frames_of_start)
      results[name + ".gradient." + rotation] = p.t().mm(frames.gradient(rotation)).contiguous();
    EndToEndOptions how{.objective = name, .learn = 1, .runtime = low_bits()};
    how.optimizer = {.learning_rate = 0.004, .steps = 2};
    const LearnedEndToEnd learned = learn_end_to_end(plan, rotations, samples, how);
    results[name + ".held_out"] = at::tensor({learned.drawn, learned.start, learned.learned}, at::kDouble);
    for (const auto& [rotation, r] : learned.rotations) results[name + ".steps." + rotation] = runtime::tensor_of(r);
  }
  write_tensors(arguments[5], results);
}

}  // namespace
}  // namespace spinor::learning

int main(int argc, char** argv) {
  return spinor::learning::run_program(argc, argv, 6, spinor::learning::run);
}
