// Elementwise scaling in place, by CPU level. One rounding an element, the same bits on every level; memory bound.
#pragma once

#include <cstdint>

namespace spinor {

// x[i] <- x[i] * by[i], n elements; by may be the narrower type (signs are).
void scale(float* x, const float* by, int64_t n);
void scale(double* x, const double* by, int64_t n);
void scale(double* x, const float* by, int64_t n);

// x[i] <- -x[i], n elements.
void negate(float* x, int64_t n);
void negate(double* x, int64_t n);

}  // namespace spinor
