#include "spinor/linalg/inverse.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <string>

#include "spinor/base/error.h"
#include "spinor/linalg/gemm.h"

namespace spinor {
namespace {

constexpr int64_t kPanel = 64;  // columns eliminated at a time; all else is products

void subtract_multiple(double* row, double factor, const double* other, int64_t n) {
  for (int64_t j = 0; j < n; ++j) row[j] -= factor * other[j];
}

// Solves a x = b for x in place, a and b having been brought to triangular form together.
class Solver {
 public:
  Solver(MatrixView<double> a, MatrixView<double> x) : a_(a), x_(x) {}

  bool solve() {
    for (int64_t first = 0; first < a_.rows; first += kPanel)
      if (!eliminate(first, std::min(kPanel, a_.rows - first))) return false;
    for (int64_t first = (a_.rows - 1) / kPanel * kPanel; first >= 0; first -= kPanel)
      substitute(first, std::min(kPanel, a_.rows - first));
    return true;
  }

 private:
  // Columns [first, first + width): the factor L stays below the diagonal, U above; both are applied to what is right
  // of the panel and to x. False if there is no pivot.
  bool eliminate(int64_t first, int64_t width) {
    const int64_t end = first + width, right = a_.cols - end, below = a_.rows - end;
    for (int64_t k = first; k < end; ++k)
      if (!eliminate_column(k, end)) return false;
    for (int64_t k = first; k < end; ++k)
      for (int64_t i = k + 1; i < end; ++i) {
        subtract_multiple(a_.row(i) + end, a_(i, k), a_.row(k) + end, right);
        subtract_multiple(x_.row(i), a_(i, k), x_.row(k), x_.cols);
      }
    const MatrixView<double> l = a_.block(end, first, below, width);
    gemm_subtract<double>(l, a_.block(first, end, width, right), a_.block(end, end, below, right));
    gemm_subtract<double>(l, x_.block(first, 0, width, x_.cols), x_.block(end, 0, below, x_.cols));
    return true;
  }

  bool eliminate_column(int64_t k, int64_t end) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < a_.rows; ++i)
      if (std::abs(a_(i, k)) > std::abs(a_(pivot, k))) pivot = i;
    if (a_(pivot, k) == 0) return false;
    if (pivot != k) {
      std::swap_ranges(a_.row(k), a_.row(k) + a_.cols, a_.row(pivot));
      std::swap_ranges(x_.row(k), x_.row(k) + x_.cols, x_.row(pivot));
    }
    for (int64_t i = k + 1; i < a_.rows; ++i) {
      a_(i, k) /= a_(k, k);
      subtract_multiple(a_.row(i) + k + 1, a_(i, k), a_.row(k) + k + 1, end - k - 1);
    }
    return true;
  }

  // Rows [first, first + width) of x are solved, and leave the equations above them.
  void substitute(int64_t first, int64_t width) {
    for (int64_t k = first + width - 1; k >= first; --k) {
      for (int64_t j = 0; j < x_.cols; ++j) x_(k, j) /= a_(k, k);
      for (int64_t i = first; i < k; ++i) subtract_multiple(x_.row(i), a_(i, k), x_.row(k), x_.cols);
    }
    gemm_subtract<double>(a_.block(0, first, first, width), x_.block(first, 0, width, x_.cols),
                          x_.block(0, 0, first, x_.cols));
  }

  MatrixView<double> a_, x_;
};

}  // namespace

Matrix<double> inverse(const Matrix<double>& m) {
  assert(m.rows == m.cols);
  Matrix<double> a = m, x(m.rows, m.cols);
  for (int64_t i = 0; i < m.rows; ++i) x(i, i) = 1;
  const bool solved = Solver(a.view(), x.view()).solve();
  if (!solved || !std::ranges::all_of(x.data, [](double value) { return std::isfinite(value); }))
    throw Error("matrix (" + std::to_string(m.rows) + ", " + std::to_string(m.rows) + ")",
                "is singular, it has no inverse");
  return x;
}

}  // namespace spinor
