// The factors of a Scale for all rows or columns of a tensor.
#pragma once

#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

// d of every row of W (count * out), or of every column (count * in): 1 outside of the part. Error if the edit has
// another number of factors, or one that is not positive and finite.
std::vector<double> scale_vector(const TensorPlan& tensor, const Scale& edit);

}  // namespace spinor
