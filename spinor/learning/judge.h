// How far a rotated model with few bits is from the original, on text that nothing was learned from.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "spinor/runtime/evaluate.h"
#include "spinor/transform/rotate_model.h"

namespace spinor::learning {

// A model that rotate_model() has rotated, what its source runs online moved into the weights.
RewritePlan rotated_plan(const Model& model, const RotateOptions& options);

struct JudgeOptions {
  int64_t context = 512;  // tokens of a window
  // Of the rotated model; nothing: not quantized. Weights keep their bits.
  std::optional<runtime::LowBits> activations = runtime::LowBits{.bits = 4}, kv = runtime::LowBits{.bits = 4};
  runtime::RuntimeOptions runtime = {};
};

class Judge {
 public:
  // tokens: whole windows.
  Judge(const Model& model, std::vector<int32_t> tokens, runtime::Reference original, const JudgeOptions& options);

  // The mean KL divergence to the original, nats a token. Weights are rotated in float32, as they are run in that.
  // Costs one evaluation of the text. Errors: those of rotate_model() and evaluate().
  double divergence(const RotateOptions& rotation);

 private:
  Model model_;
  std::vector<int32_t> tokens_;
  JudgeOptions options_;
  runtime::Reference original_;
};

}  // namespace spinor::learning
