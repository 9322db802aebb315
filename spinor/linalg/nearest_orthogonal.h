// Back to orthogonality, and to fixing the vector of ones, for a matrix that lost them to rounding.
#pragma once

#include "spinor/base/view.h"

namespace spinor {

// Beyond this many digits double arithmetic does not bring R R^T to 1: entries are sums of n products of size 1 / n.
inline constexpr double kOrthogonal = 0x1p-43;

// x (n, n) <- the orthogonal matrix nearest to it, where max |(x x^T - 1)_ij| <= tolerance; one within kOrthogonal
// stays as it is. Returns that maximum as it was; infinity where the steps do not converge, which takes a matrix far
// from orthogonal; when it is above the tolerance, or NaN, x is not to be used. The steps x <- x + (1 - x x^T) x / 2
// square the error (Bjorck and Bowie 1971, SIAM J. Numer. Anal. 8(2)), until rounding is all that is left: 3 or 4 from
// float32 or bfloat16, each of 2 n^3 multiply-adds on `threads` threads (0: all). 2 n^2 doubles of memory.
double make_orthogonal(Matrix<double>& x, double tolerance, int threads = 0);

// How far the sums of the rows and of the columns are from 1, which they are where x fixes the vector of ones.
double ones_error(const Matrix<double>& x);
// For an orthogonal x (n, n) that nearly fixes the ones: x 1 = 1 and 1 x = 1 are made exact, and x is orthogonal within
// kOrthogonal.
void restore_ones(Matrix<double>& x, int threads = 0);

}  // namespace spinor
