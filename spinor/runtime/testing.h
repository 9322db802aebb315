// For tests: a small random model on disk, and plans that rotate it. Needs no header of libtorch.
#pragma once

#include <string>
#include <vector>

#include "spinor/plan/testing.h"
#include "spinor/transform/rotate_model.h"

namespace spinor::testing {

inline Model make_model(const TemporaryDirectory& directory, const TinyModel& tiny = {}) {
  return Model::describe(Checkpoint::open(write_model(directory / "model", tiny)));
}

// With random Hadamard matrices, as a SpinQuantModifier plans it.
inline RewritePlan rotated(const Model& model, std::vector<Spin> rotations, uint64_t seed = 1) {
  RewritePlan plan(model);
  rotate_model(model, plan,
               {.spin = {.rotations = std::move(rotations), .transform_type = "random-hadamard", .seed = seed}});
  return plan;
}

inline const std::vector<Spin> kAllSpins = {Spin::R1, Spin::R2, Spin::R3, Spin::R4};

// The weights of the layers' linears in so many bits, a scale a row.
inline void quantize(const Model& model, RewritePlan& plan, int bits) {
  QuantizationArgs args{.num_bits = bits, .strategy = QuantizationStrategy::channel};
  QuantizationConfig config;
  config.config_groups.emplace_back("group_0", QuantizationScheme{.targets = {"Linear"}, .weights = args});
  config.config_groups.back().second.format = "int-quantized";
  config.ignore = {"lm_head"};
  for (const Module& module : model.modules())
    if (module.kind == ModuleKind::linear && module.layer >= 0)
      plan.edit_weight(module, Quantize{{.args = args, .format = "int-quantized"}});
  plan.set_quantization(config);
}

inline std::vector<int32_t> tokens(int64_t count, int64_t vocabulary, uint32_t seed = 3) {
  std::mt19937 engine(seed);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(engine() % static_cast<uint32_t>(vocabulary));
  return ids;
}

}  // namespace spinor::testing
