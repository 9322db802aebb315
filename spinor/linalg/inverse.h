// The inverse of a matrix that is no rotation.
#pragma once

#include "spinor/base/view.h"

namespace spinor {

// m (n, n) inverted by LU with partial pivoting, in double, about 8/3 n^3 operations on one thread. Throws if singular.
Matrix<double> inverse(const Matrix<double>& m);

}  // namespace spinor
