// Dense products, one thread a call; callers parallelize over tiles. Every element is one chain of multiply-adds over
// the inner index in ascending order, so its bits depend on its row of a and its column of b only: not on tiles, on
// threads, or on the CPU level (but for baseline, which rounds products).
#pragma once

#include "spinor/base/view.h"

namespace spinor {

// c (m, n) = a (m, k) b (k, n); with transpose_a, a is (k, m), with transpose_b, b is (n, k). c must not overlap a or
// b. T is float or double. Takes up to 5 MB of scratch.
template <typename T>
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, bool transpose_a = false,
          bool transpose_b = false);

// c -= a b, without transposition.
template <typename T>
void gemm_subtract(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c);

}  // namespace spinor
