// Random orthogonal matrices, Haar-distributed: one seed gives the same bits on every machine, level and thread count.
#pragma once

#include <cstdint>

#include "spinor/base/view.h"
#include "spinor/linalg/random.h"

namespace spinor {

// A product of Householder reflections of normal vectors with fixed signs (Stewart 1980, SIAM J. Numer. Anal. 17(3)):
// exactly Haar, reflections included. Takes n (n + 1) / 2 normals from `random`. 2/3 n^3 multiply-adds, on `threads`
// threads (0: all); n^2 doubles of memory and 128 n of scratch, 16 n more a thread.
Matrix<double> random_orthogonal(int64_t n, Random& random, int threads = 0);

// max |(R R^T - I)_ij| for R (rows, cols); NaN if an entry is. rows^2 cols / 2 multiply-adds, on the caller's thread.
double orthogonality_error(MatrixView<const double> r);

}  // namespace spinor
