// Online transforms on disk: their matrices, as compressed-tensors stores them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "spinor/io/safetensors.h"
#include "spinor/plan/plan.h"

namespace spinor {

// A tensor of the output that no tensor of the source becomes: <module>.<group>_<location>.weight (n, n), a matrix of
// +-1 without 1/sqrt(n) or a dense one; or .perm (n), the permutation. Matrices that several modules share stand once,
// under the first of them in the order of named_modules().
struct OnlineTensor {
  TensorInfo info;
  Rotation r;
  bool permutation = false;
};

std::vector<OnlineTensor> online_tensors(const RewritePlan& plan, DType dtype);

// The dtype of online matrices in an output whose weights have this dtype: +-1 is exact in any, others get F32 at
// least.
DType online_tensor_dtype(bool dense, DType dtype);

// Rows [first, first + rows) as stored; of a permutation, its elements.
std::vector<std::byte> online_rows(const OnlineTensor& tensor, int64_t first, int64_t rows);

}  // namespace spinor
