// Fast Walsh-Hadamard transform (Sylvester's matrix S: S_1 = [1], S_2k = [[S, S], [S, -S]], symmetric, entries +-1).
#pragma once

#include "spinor/base/view.h"

namespace spinor {

// In place: x (rows, n) becomes scale * x S_n, n a power of two. rows * n * log2(n) additions. T is float or double.
template <typename T>
void fwht_rows(MatrixView<T> x, T scale);

// In place: x (n, cols) becomes scale * S_n x, n a power of two. The same cost; fastest when x fits the L2 cache.
template <typename T>
void fwht_columns(MatrixView<T> x, T scale);

}  // namespace spinor
