// Random orthogonal matrices, Haar-distributed: one seed gives the same bits on every machine, level and thread count.
#pragma once

#include <cstdint>

#include "spinor/base/view.h"
#include "spinor/linalg/random.h"

namespace spinor {

// A product of Householder reflections of normal vectors with fixed signs (Stewart 1980, SIAM J. Numer. Anal. 17(3)):
// exactly Haar. About 4/3 n^3 multiply-adds, on `threads` threads (0: all); 2 n^2 doubles of memory.
Matrix<double> random_orthogonal(int64_t n, Random& random, int threads = 0);

// max |(R R^T - I)_ij|.
double orthogonality_error(MatrixView<const double> r);

}  // namespace spinor
