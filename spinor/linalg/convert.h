// Stored elements to and from float or double, vectorized. Dtypes F64, F32, F16, BF16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spinor/base/dtype.h"

namespace spinor {

// dst[i] = src[i] for n elements. Exact, except F64 into float, which rounds once. src needs no alignment.
template <typename T>
void load(DType dtype, const std::byte* src, T* dst, int64_t n);

// dst[i] = src[i] rounded once, to nearest even, straight from T (never through a third type's rounding).
// False if a value is not finite, or is too large for the dtype: dst then holds NaN or infinity at that place.
template <typename T>
[[nodiscard]] bool store(DType dtype, const T* src, std::byte* dst, int64_t n);

}  // namespace spinor
