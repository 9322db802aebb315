// The Cholesky factor of a large matrix on many threads, with bits that do not depend on how many.
#pragma once

#include <ATen/core/Tensor.h>

namespace spinor::calibration {

// Makes L, A = L L', of a symmetric float matrix in its place; its lower part is read, zeros are right of the diagonal
// then. False, and the matrix is spoiled: it has none. size^3 / 3 operations, blocks of them on one thread each (Golub
// and Van Loan, Matrix Computations, 4.2.6). Within OneThreadEach.
bool factor_in_place(at::Tensor matrix, int threads);

}  // namespace spinor::calibration
