// A square matrix R (n, n) that acts on weights, block-diagonally when n divides the side: a value, cheap to copy.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/linalg/hadamard.h"

namespace spinor {

// Copies, transposes and inverses share one immutable matrix; concurrent use of const members is safe.
class Rotation {
 public:
  // R = M / sqrt(n), M[i][j] = signs[i] * H[j][i]; with a permutation p, M[p[i]][p[j]] instead. Empty signs: all +1.
  // Throws unless there are n signs (or none) and p is a permutation of 0 ... n-1 (or empty).
  static Rotation hadamard(Hadamard h, std::vector<int8_t> signs = {}, std::vector<int64_t> permutation = {});
  // The same with signs on both sides, M[i][j] = left[i] * H[j][i] * right[j], times the Householder reflection that
  // makes it fix the ones vector: 1 R = 1, R 1 = 1, so that LN(x R) = LN(x) R. The reflection changes entries of R by
  // the order of log n / n when both signs are random. Not stored: stored() is an Error.
  static Rotation hadamard_fixing_ones(Hadamard h, std::vector<int8_t> left, std::vector<int8_t> right,
                                       std::vector<int64_t> permutation = {});
  // x R is x in another order: entry j of it is entry order[j] of x. Throws unless `order` is a permutation of 0 ...
  // n-1. Not stored: stored() is an Error.
  static Rotation reordering(std::vector<int64_t> order);
  // R = m as it is (n, n), no 1/sqrt(n). `orthogonal` says whether m^T is its inverse; else inverse() solves for it.
  static Rotation dense(Matrix<double> m, bool orthogonal);

  int64_t size() const;
  bool orthogonal() const;
  bool is_dense() const;
  bool is_reordering() const;
  // Memory the shared matrix holds, with the inverse where it is not the transpose. Once a float view is multiplied by
  // a dense R, a float copy adds half.
  int64_t bytes() const;
  Rotation transposed() const;    // O(1)
  Rotation inverse() const;       // R^T when orthogonal; else LU, once, kept in the shared matrix. Throws if singular.
  Matrix<double> matrix() const;  // R written out; for tests, reports and small sizes

  // As compressed-tensors stores a transform: of a Hadamard type M before the permutation and 1/sqrt(n), also for its
  // transpose, which shares it; of a dense one the matrix. Entry (i, j); +-1 for Hadamard types.
  double stored(int64_t i, int64_t j) const;
  bool stores_the_same(const Rotation& other) const;  // one stored matrix serves both
  const std::vector<int64_t>& permutation() const;    // of a Hadamard type; empty: none
  bool same_as(const Rotation& other) const;          // a copy of it, transposed and inverted alike
  bool is_transposed() const { return transposed_; }
  // Of a Hadamard type without its permutation, and with none that fixes the ones vector: M[i][j] = signs[i] H[j][i],
  // H = base (x) Sylvester. Error for others. Also of its transpose, which shares it.
  struct Factors {
    std::vector<int8_t> signs;  // empty: all +1
    Matrix<double> base;
  };
  Factors factors() const;
  // Whether compressed-tensors can make a Hadamard matrix of this order.
  bool peer_has_order() const;

  // In place: x (rows, m n) <- x blockdiag(R, ..., R). scratch grows as needed and may be reused.
  template <typename T>
  void multiply_right(MatrixView<T> x, std::vector<T>& scratch) const;
  // In place: x (m n, cols) <- blockdiag(R, ..., R) x.
  template <typename T>
  void multiply_left(MatrixView<T> x, std::vector<T>& scratch) const;

 private:
  struct Data;
  explicit Rotation(std::shared_ptr<const Data> data);

  std::shared_ptr<const Data> data_;
  bool transposed_ = false;
  bool inverted_ = false;  // only where the inverse is not the transpose
};

}  // namespace spinor
