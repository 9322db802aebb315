// The Hadamard kind of Rotation: R = P D H^T E F P^T / sqrt(n), D and E diagonal signs, F a reflection, P a
// permutation.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/linalg/hadamard.h"

namespace spinor {

// F = I - factor v v^T, in both precisions. Empty: F = I.
struct Reflection {
  std::vector<double> v;
  std::vector<float> narrow;
  double factor = 0;

  Reflection() = default;
  explicit Reflection(std::vector<double> vector, double two_over_its_square);
  bool empty() const { return v.empty(); }
};

struct SignedHadamard {
  Hadamard h;
  std::vector<float> left, right;    // D and E; empty: all +1
  std::vector<int64_t> permutation;  // P[i][permutation[i]] = 1; empty: P = I
  Reflection reflection = {};
  double scale = 1 / std::sqrt(static_cast<double>(h.order()));

  bool stored_as_signs() const { return right.empty() && reflection.empty(); }  // D and H say all but P and the scale
  int64_t bytes() const;
  Matrix<double> matrix() const;
  // x (rows, n) <- x R, or x R^T when transposed; scratch grows as needed.
  template <typename T>
  void multiply_right(MatrixView<T> x, bool transposed, std::vector<T>& scratch) const;
  // x (n, cols) <- R x, or R^T x when transposed.
  template <typename T>
  void multiply_left(MatrixView<T> x, bool transposed, std::vector<T>& scratch) const;
};

// The reflection that takes what R makes of the ones vector back to it, so that 1 R = 1 and, R being orthogonal,
// R 1 = 1. Empty where R does that already. `r` has no permutation and no reflection.
Reflection reflection_that_fixes_ones(const SignedHadamard& r);

}  // namespace spinor
