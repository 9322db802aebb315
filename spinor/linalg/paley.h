// Paley's Hadamard matrices, from the squares of a finite field GF(q), q = p^k. R. E. A. C. Paley, J. Math. Phys. 12
// (1933).
#pragma once

#include <optional>

#include "spinor/linalg/sign_matrix.h"

namespace spinor {

// Is there one of this order: n - 1 (construction I) or n / 2 - 1 (II) a prime power, = 3 or 1 modulo 4? Costs sqrt(n).
bool has_paley(int64_t order);
// Construction I where it applies, else II, else nothing. n^2 bytes.
std::optional<SignMatrix> paley(int64_t order);

// chi[a] = 0 for a = 0, +1 for a nonzero square of GF(q), else -1. Elements are numbered by the base-p digits of their
// coefficients. Empty unless q is an odd prime power.
std::vector<int8_t> quadratic_character(int64_t q);

}  // namespace spinor
