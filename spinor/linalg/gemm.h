// Dense products through BLAS, one thread a call; callers parallelize over tiles of fixed size, so that results do not
// depend on the number of threads.
#pragma once

#include "spinor/base/view.h"

namespace spinor {

// c (m, n) = a (m, k) b (k, n); with transpose_b, b is (n, k). c must not overlap a or b. T is float or double.
template <typename T>
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, bool transpose_a = false, bool transpose_b = false);

// m (n, n) inverted by LU with partial pivoting, in double. Throws if singular.
Matrix<double> inverse(const Matrix<double>& m);

}  // namespace spinor
