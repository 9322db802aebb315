#include "spinor/linalg/nearest_orthogonal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "spinor/base/parallel.h"
#include "spinor/linalg/gemm.h"

namespace spinor {
namespace {

constexpr int64_t kRowsAtOnce = 64;  // rows a thread takes at once
constexpr int kMaxSteps = 8;         // 2^-8 squared 3 times is beyond double; what takes more does not converge

// work(first row, rows) for panels of the rows of a square matrix.
template <typename Work>
void for_panels(int64_t n, int threads, Work work) {
  parallel_for((n + kRowsAtOnce - 1) / kRowsAtOnce, threads,
               [&](int64_t panel, int) { work(panel * kRowsAtOnce, std::min(kRowsAtOnce, n - panel * kRowsAtOnce)); });
}

template <typename T>
MatrixView<T> rows_of(MatrixView<T> m, int64_t first, int64_t rows) {
  return {m.data + first * m.stride, rows, m.cols, m.stride};
}

MatrixView<const double> view(const Matrix<double>& m) {
  return {m.data.data(), m.rows, m.cols};
}

// residual <- 1 - x x^T. The largest of its entries; NaN if one is.
double find_residual(const Matrix<double>& x, Matrix<double>& residual, int threads) {
  const int64_t n = x.rows;
  for_panels(n, threads, [&](int64_t first, int64_t rows) {
    const MatrixView<double> out = rows_of(residual.view(), first, rows);
    gemm<double>(rows_of(view(x), first, rows), view(x), out, false, true);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < n; ++j) out(i, j) = (first + i == j ? 1.0 : 0.0) - out(i, j);
  });
  double largest = 0;
  for (const double entry : residual.data)
    if (!(std::abs(entry) <= largest)) largest = std::abs(entry);  // NaN stays
  return largest;
}

struct LineSums {
  std::vector<double> rows, cols;

  explicit LineSums(const Matrix<double>& m) : rows(static_cast<size_t>(m.rows)), cols(static_cast<size_t>(m.cols)) {
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = 0; j < m.cols; ++j) {
        rows[static_cast<size_t>(i)] += m(i, j);
        cols[static_cast<size_t>(j)] += m(i, j);
      }
  }
};

}  // namespace

double make_orthogonal(Matrix<double>& x, double tolerance, int threads) {
  const int64_t n = x.rows;
  Matrix<double> residual(n, n), correction(n, n);
  const double before = find_residual(x, residual, threads);
  double error = before, last = before;
  if (!(error <= tolerance)) return before;
  // Once begun, until rounding is all that is left.
  for (int step = 0; error > kOrthogonal || error < last / 2; ++step) {
    if (error > kOrthogonal && (step == kMaxSteps || !(error <= 1))) return std::numeric_limits<double>::infinity();
    last = error;
    for_panels(n, threads, [&](int64_t first, int64_t rows) {
      gemm<double>(rows_of(view(residual), first, rows), view(x), rows_of(correction.view(), first, rows));
    });
    for (size_t i = 0; i < x.data.size(); ++i) x.data[i] += correction.data[i] / 2;
    error = find_residual(x, residual, threads);
  }
  return before;
}

double ones_error(const Matrix<double>& x) {
  const LineSums sums(x);
  double largest = 0;
  for (const auto* some : {&sums.rows, &sums.cols})
    for (const double sum : *some)
      if (!(std::abs(sum - 1) <= largest)) largest = std::abs(sum - 1);  // NaN stays
  return largest;
}

// x <- P x P + 1 1'/n, P taking the mean away: what x does to the ones is made exact, the rest stays.
void restore_ones(Matrix<double>& x, int threads) {
  const LineSums sums(x);
  const auto n = static_cast<double>(x.rows);
  double total = 0;
  for (const double sum : sums.rows) total += sum;
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j)
      x(i, j) += (1 + total / n - sums.rows[static_cast<size_t>(i)] - sums.cols[static_cast<size_t>(j)]) / n;
  make_orthogonal(x, 1, threads);  // its steps keep what x does to the ones
}

}  // namespace spinor
