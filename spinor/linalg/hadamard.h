// Hadamard matrices of order n = base * 2^k: H_n = H_base (x) S_{2^k} (Kronecker), entries +-1, H H^T = n I.
// Bases: the 66 orders compressed-tensors bundles (table), else Paley I / II over prime powers (computed).
#pragma once

#include <cstdint>
#include <memory>

#include "spinor/base/view.h"
#include "spinor/linalg/sign_matrix.h"

namespace spinor {

class FactoredSigns;

// A value: cheap to copy. The base is shared. Concurrent use of const members is safe.
class Hadamard {
 public:
  // S_n. Throws unless n is a power of two (the peer's words: "Cannot construct deterministic hadamard of size !=
  // 2^n").
  static Hadamard sylvester(int64_t n);
  // The factorization compressed-tensors uses: the largest of its 66 bases with n / base a power of two. Where it has
  // none: the smallest Paley base, up to 8192. Throws, naming n and a block size that works, if there is neither.
  static Hadamard of_order(int64_t n);
  // The cheapest: the smallest base. Another matrix than of_order(n) in general. Throws as of_order does.
  static Hadamard smallest_base(int64_t n);
  // Whether these two have one.
  static bool exists(int64_t n);

  int64_t order() const { return order_; }
  int64_t base() const;
  bool from_peer_table() const;  // bit-equal to what compressed-tensors would use for this order
  int8_t sign(int64_t i, int64_t j) const;

  // In place on x (rows, n): x <- scale * x H, or scale * x H^T when transposed. T is float or double. The bits of a
  // row's result depend on that row only. About log2(s n / base) + c / 4 additions an element, where H_base = S_s (x) C
  // with s as large as it can be and c = base / s.
  template <typename T>
  void rows(MatrixView<T> x, T scale, bool transposed) const;
  // In place on x (n, cols): x <- scale * H x, or scale * H^T x when transposed. The same cost.
  template <typename T>
  void columns(MatrixView<T> x, T scale, bool transposed) const;

 private:
  Hadamard(int64_t order, SignMatrix base);

  int64_t order_;
  std::shared_ptr<const FactoredSigns> base_;
};

// In place: each row of x (rows, n) becomes x H / sqrt(n), H = Hadamard::smallest_base(n). Throws as it does.
void hadamard_rows(MatrixView<float> x);
void hadamard_rows(MatrixView<double> x);

}  // namespace spinor
