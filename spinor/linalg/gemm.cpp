#include "spinor/linalg/gemm.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <mutex>
#include <string>

#include "spinor/base/error.h"

// Hidden, so that these names are bound to the library we link statically and to nothing that a process loads beside
// it.
extern "C" {
[[gnu::visibility("hidden")]] void dgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                                          const int* k, const double* alpha, const double* a, const int* lda,
                                          const double* b, const int* ldb, const double* beta, double* c,
                                          const int* ldc);
[[gnu::visibility("hidden")]] void sgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                                          const int* k, const float* alpha, const float* a, const int* lda,
                                          const float* b, const int* ldb, const float* beta, float* c, const int* ldc);
[[gnu::visibility("hidden")]] void dgesv_(const int* n, const int* columns, double* a, const int* lda, int* pivots,
                                          double* b, const int* ldb, int* info);
}

namespace spinor {
namespace {

// Debian's serial OpenBLAS is not safe to call from several threads: now and then two calls share a buffer and one
// product is wrong (gemm_test.cpp finds it within a few hundred calls). So calls take turns.
std::mutex& turn() {
  static std::mutex mutex;
  return mutex;
}

void blas_gemm(const char* ta, const char* tb, const int* m, const int* n, const int* k, const double* alpha,
               const double* a, const int* lda, const double* b, const int* ldb, const double* beta, double* c,
               const int* ldc) {
  dgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void blas_gemm(const char* ta, const char* tb, const int* m, const int* n, const int* k, const float* alpha,
               const float* a, const int* lda, const float* b, const int* ldb, const float* beta, float* c,
               const int* ldc) {
  sgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

int blas_size(int64_t size) {
  if (size > std::numeric_limits<int>::max())
    throw Error("gemm", "a side of " + std::to_string(size) + " is beyond BLAS");
  return static_cast<int>(size);
}

template <typename T>
int leading(MatrixView<const T> matrix) {
  return blas_size(std::max<int64_t>(1, matrix.stride));
}

}  // namespace

// BLAS stores columns: it sees every row-major matrix transposed, and c^T = b^T a^T.
template <typename T>
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, bool transpose_a, bool transpose_b) {
  const int64_t inner = transpose_a ? a.rows : a.cols;
  assert((transpose_a ? a.cols : a.rows) == c.rows);
  assert((transpose_b ? b.rows : b.cols) == c.cols);
  assert((transpose_b ? b.cols : b.rows) == inner);
  const int m = blas_size(c.cols), n = blas_size(c.rows), k = blas_size(inner);
  if (m == 0 || n == 0) return;
  const int lda = leading(b), ldb = leading(a), ldc = leading<T>(c);
  const T one = 1, zero = 0;
  const std::lock_guard lock(turn());
  blas_gemm(transpose_b ? "T" : "N", transpose_a ? "T" : "N", &m, &n, &k, &one, b.data, &lda, a.data, &ldb, &zero,
            c.data, &ldc);
}

template void gemm(MatrixView<const float>, MatrixView<const float>, MatrixView<float>, bool, bool);
template void gemm(MatrixView<const double>, MatrixView<const double>, MatrixView<double>, bool, bool);

// Solves m^T x = I in BLAS's columns, which is m^-1 in our rows.
Matrix<double> inverse(const Matrix<double>& m) {
  assert(m.rows == m.cols);
  const int n = blas_size(m.rows);
  Matrix<double> lu = m, x(m.rows, m.cols);
  if (n == 0) return x;
  for (int64_t i = 0; i < m.rows; ++i) x(i, i) = 1;
  std::vector<int> pivots(static_cast<size_t>(n));
  int info = 0;
  const std::lock_guard lock(turn());
  dgesv_(&n, &n, lu.data.data(), &n, pivots.data(), x.data.data(), &n, &info);
  const auto finite = [](double value) { return std::isfinite(value); };
  if (info != 0 || !std::ranges::all_of(x.data, finite))
    throw Error("matrix (" + std::to_string(n) + ", " + std::to_string(n) + ")", "is singular, it has no inverse");
  return x;
}

}  // namespace spinor
