// The weights of a plan as torch tensors, made by the same programs that save() runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace spinor {

at::ScalarType torch_dtype(DType dtype);

class Weights {
 public:
  // What quantizes is replaced by what quantizes and dequantizes.
  Weights(RewritePlan plan, const RuntimeOptions& options);

  const RewritePlan& plan() const { return plan_; }
  // Bytes of all weights.
  int64_t bytes() const;
  // The tensor of the output that has this name, computed now; an undefined one if there is none. Errors as of
  // TensorProgram.
  at::Tensor compute(std::string_view name) const;
  // Rows of it, one for each index; only the blocks that hold some are computed.
  at::Tensor compute_rows(std::string_view name, const at::Tensor& indices) const;

 private:
  const TensorPlan* find(std::string_view name) const;
  DType computed_dtype(const TensorPlan& tensor) const;
  Precision precision(const TensorPlan& tensor) const;

  RewritePlan plan_;
  RuntimeOptions options_;
};

}  // namespace spinor
