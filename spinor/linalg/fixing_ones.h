// Orthogonal matrices R that fix the ones vector: R 1 = 1. They keep the mean of a row and its deviations' size, so
// LN(x R) = LN(x) R, where LN subtracts the mean and divides by the deviation.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/linalg/random.h"
#include "spinor/linalg/rotation.h"

namespace spinor {

// -1 where an odd number of the bit pairs 0-1, 2-3, ... of the index are both set: as far as signs can be from every
// row of Sylvester's matrix. S_n with them on both sides fixes the ones vector by itself when n is a power of 4.
std::vector<int8_t> bent_signs(int64_t n);

// For every n; signs and permutation as in Rotation::hadamard_fixing_ones. With no Hadamard matrix of order n (n odd,
// or twice an odd number): dense, a product over the primes of n.
Rotation hadamard_fixing_ones(int64_t n, std::vector<int8_t> left, std::vector<int8_t> right,
                              std::vector<int64_t> permutation = {});

// Haar-distributed among those: Q diag(1, O) Q, with O a random_orthogonal(n - 1) and Q the reflection between the
// first unit vector and the ones vector. 4 n^2 multiply-adds beside making O, and another n^2 doubles of memory.
Matrix<double> random_orthogonal_fixing_ones(int64_t n, Random& random, int threads = 0);

}  // namespace spinor
