// The weights of a plan as torch tensors, made by the same programs that save() runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace spinor::runtime {

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
  // So many of its rows, which are those of compute().
  at::Tensor compute_rows(std::string_view name, int64_t first, int64_t count) const;
  // So many rows together, or a multiple of them, cost no more than their share of the whole; all of them where parts
  // do not pay.
  int64_t rows_at_once(std::string_view name) const;
  // From now on this is the tensor of this name; until restore() compute() gives it as it is.
  void replace(const std::string& name, const at::Tensor& tensor) { replaced_[name] = tensor; }
  void restore() { replaced_.clear(); }
  // Rows of it, one for each index; only the blocks that hold some are computed.
  at::Tensor compute_rows(std::string_view name, const at::Tensor& indices) const;

 private:
  const TensorPlan* find(std::string_view name) const;
  DType computed_dtype(const TensorPlan& tensor) const;
  Precision precision(const TensorPlan& tensor) const;

  RewritePlan plan_;
  RuntimeOptions options_;
  std::map<std::string, at::Tensor, std::less<>> replaced_;
};

}  // namespace spinor::runtime
