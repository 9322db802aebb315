// Householder reflections in place, by CPU level; the same bits on every level.
#pragma once

#include "spinor/base/view.h"

namespace spinor {

// Each row of x (rows, n) becomes x - factor (x . v) v. T is float or double.
template <typename T>
void reflect_rows(MatrixView<T> x, const T* v, T factor);

// Each column of x (n, cols) becomes x - factor (x . v) v. `sums` has x.cols elements of scratch.
template <typename T>
void reflect_columns(MatrixView<T> x, const T* v, T factor, T* sums);

}  // namespace spinor
