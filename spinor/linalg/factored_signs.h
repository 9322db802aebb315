// A sign matrix written as S_s (x) C, S_s Sylvester's and s as large as it can be, and fast products with it.
#pragma once

#include "spinor/base/view.h"
#include "spinor/linalg/sign_matrix.h"
#include "spinor/linalg/sign_product.h"

namespace spinor {

class FactoredSigns {
 public:
  // The order is 1, 2 or a multiple of 4, and so is the order of C.
  explicit FactoredSigns(SignMatrix matrix);

  const SignMatrix& matrix() const { return matrix_; }
  int64_t core_order() const { return core_order_; }  // 1: the matrix is Sylvester's

  // In place on x (rows, n), n = order * 2^k: x <- scale * x A, A = matrix (x) S_{2^k}, or scale * x A^T.
  template <typename T>
  void rows(MatrixView<T> x, T scale, bool transposed) const;
  // In place on x (n, cols): x <- scale * A x, or scale * A^T x.
  template <typename T>
  void columns(MatrixView<T> x, T scale, bool transposed) const;

 private:
  const SignProduct& product(bool transposed) const { return transposed ? core_transposed_ : core_; }
  template <typename T>
  void short_rows(MatrixView<T> x, T scale, bool transposed) const;

  SignMatrix matrix_;
  int64_t core_order_;
  SignProduct core_, core_transposed_;  // planned unless C is [1]
};

}  // namespace spinor
