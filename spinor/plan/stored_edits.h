// The edits of a weight in terms of the matrix that is stored, which may be its transpose.
#pragma once

#include <algorithm>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

// The same edits of the stored matrix: W R is R^T W^T. A FoldNorm stays as it is, and scales rows of a
// transpose; a FoldNormWithBias is marked.
std::vector<Edit> stored_edits(const TensorPlan& tensor);

// The indices of a part from `first` to `last`, run by run: visit(begin, end).
template <typename Visit>
void for_runs(const Slice& part, int64_t first, int64_t last, const Visit& visit) {
  for (int64_t start = first / part.period * part.period; start < last; start += part.period) {
    const int64_t begin = std::max(first, start + part.begin), end = std::min(last, start + part.begin + part.size);
    if (begin < end) visit(begin, end);
  }
}

}  // namespace spinor
