// Products with a sign matrix A (order c, a multiple of 4) on many columns at once, by the method of four Russians: the
// 16 signed sums of every 4 inputs are tabulated once, then each output adds one of them per group. c / 4 additions an
// element in place of c - 1. The order of additions is fixed by A alone: the same bits for every CPU level, tile and
// thread.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/linalg/sign_matrix.h"

namespace spinor {

class SignProduct {
 public:
  static constexpr int64_t kTileBytes = 128;
  template <typename T>
  static constexpr int64_t kLanes = kTileBytes / sizeof(T);  // columns in a tile

  SignProduct() = default;
  // Plans y = A x, or y = A^T x when transposed. 2 bytes for every 4 signs.
  SignProduct(const SignMatrix& a, bool transposed);

  int64_t order() const { return order_; }
  // One tile: y[i, 0..kLanes) = scale * sum_k A[i][k] x[k, 0..kLanes), rows `stride` elements apart. y may be x.
  // `sums` has order() * kLanes<T> elements of scratch.
  template <typename T>
  void multiply(const T* x, int64_t x_stride, T* y, int64_t y_stride, T scale, T* sums) const;

 private:
  int64_t order_ = 0;
  std::vector<uint16_t>
      entries_;  // [chunk of groups][block of outputs][group][output]: where in the chunk's tables, bytes
};

}  // namespace spinor
