#include "spinor/learning/judge.h"

#include <utility>

#include "spinor/transform/stored_online.h"

namespace spinor::learning {

RewritePlan rotated_plan(const Model& model, const RotateOptions& options) {
  RewritePlan plan = start_plan(model);
  rotate_model(model, plan, options);
  return plan;
}

Judge::Judge(const Model& model, std::vector<int32_t> tokens, runtime::Reference original, const JudgeOptions& options)
    : model_(model), tokens_(std::move(tokens)), options_(options), original_(std::move(original)) {
  options_.runtime.activations = options.activations;
  options_.runtime.kv = options.kv;
}

double Judge::divergence(const RotateOptions& rotation) {
  RotateOptions as_run = rotation;
  if (options_.runtime.dtype != DType::F64) as_run.spin.precision = Precision::float32;
  return *runtime::evaluate(rotated_plan(model_, as_run), original_, tokens_, {.context = options_.context},
                            options_.runtime)
              .divergence;
}

}  // namespace spinor::learning
