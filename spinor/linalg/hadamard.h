// Hadamard matrices of order n = base * 2^k: H_n = H_base (x) S_{2^k} (Kronecker), entries +-1, H H^T = n I.
// Bases: the 66 orders compressed-tensors bundles (table), else Paley I / II over prime powers (computed).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "spinor/base/view.h"

namespace spinor {

struct SignMatrix {
  int64_t order = 0;
  std::vector<int8_t> signs;  // order * order, row-major, +1 or -1
  int8_t operator()(int64_t i, int64_t j) const { return signs[static_cast<size_t>(i * order + j)]; }
};

// A value: cheap to copy. The base is shared.
class Hadamard {
 public:
  // S_n. Throws unless n is a power of two (the peer's words: "Cannot construct deterministic hadamard of size != 2^n").
  static Hadamard sylvester(int64_t n);
  // The factorization compressed-tensors uses: the largest of its 66 bases with n / base a power of two. Where it has
  // none: the smallest Paley base. Throws, naming n and a block size that works, if there is neither.
  static Hadamard of_order(int64_t n);
  // The cheapest: the smallest base. Another matrix than of_order(n) in general.
  static Hadamard smallest_base(int64_t n);

  int64_t order() const;
  int64_t base() const;
  bool from_peer_table() const;  // bit-equal to what compressed-tensors would use for this order
  int8_t sign(int64_t i, int64_t j) const;

  // In place on x (rows, n): x <- scale * x H, or scale * x H^T when transposed.
  template <typename T>
  void rows(MatrixView<T> x, T scale, bool transposed) const;
  // In place on x (n, cols): x <- scale * H x, or scale * H^T x when transposed.
  template <typename T>
  void columns(MatrixView<T> x, T scale, bool transposed) const;

 private:
  int64_t order_ = 1;
  std::shared_ptr<const SignMatrix> base_;
};

}  // namespace spinor
