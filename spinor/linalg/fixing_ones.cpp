#include "spinor/linalg/fixing_ones.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "spinor/linalg/hadamard.h"
#include "spinor/linalg/orthogonal.h"
#include "spinor/linalg/paley.h"
#include "spinor/linalg/reflect.h"

namespace spinor {
namespace {

// Orthogonal, of prime order, with entries of about one size. But for p = 2 it fixes the ones vector: a Legendre matrix
// chi(i - j) / sqrt(p) is 0 on it and orthogonal on the rest; up to 5, a reflection is flatter.
Matrix<double> of_prime_order(int64_t p) {
  Matrix<double> m(p, p);
  if (p == 2) {
    const double half = std::sqrt(0.5);
    m.data = {half, half, half, -half};
    return m;
  }
  const std::vector<int8_t> chi = quadratic_character(p);
  const auto order = static_cast<double>(p);
  for (int64_t i = 0; i < p; ++i)
    for (int64_t j = 0; j < p; ++j)
      m(i, j) =
          p <= 5 ? 2 / order - (i == j) : chi[static_cast<size_t>((i - j + p) % p)] / std::sqrt(order) + 1 / order;
  return m;
}

Matrix<double> kronecker(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> m(a.rows * b.rows, a.cols * b.cols);
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.cols; ++j) m(i, j) = a(i / b.rows, j / b.cols) * b(i % b.rows, j % b.cols);
  return m;
}

Matrix<double> product_over_primes(int64_t n) {
  Matrix<double> m(1, 1);
  m(0, 0) = 1;
  for (int64_t p = 2; n > 1; ++p)
    for (; n % p == 0; n /= p) m = kronecker(m, of_prime_order(p));
  return m;
}

// Rows m <- m F, F the reflection that takes 1 m to 1.
void fix_ones(Matrix<double>& m) {
  std::vector<double> v(static_cast<size_t>(m.cols), -1);
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.cols; ++j) v[static_cast<size_t>(j)] += m(i, j);
  const double square = std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
  if (square > 1e-20) reflect_rows(m.view(), v.data(), 2 / square);  // else the ones vector is fixed but for rounding
}

Rotation dense_fixing_ones(int64_t n, const std::vector<int8_t>& left, const std::vector<int8_t>& right,
                           const std::vector<int64_t>& permutation) {
  Matrix<double> m = product_over_primes(n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) m(i, j) *= left[static_cast<size_t>(i)] * right[static_cast<size_t>(j)];
  fix_ones(m);
  if (permutation.empty()) return Rotation::dense(std::move(m), true);
  Matrix<double> permuted(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      permuted(i, j) = m(permutation[static_cast<size_t>(i)], permutation[static_cast<size_t>(j)]);
  return Rotation::dense(std::move(permuted), true);
}

}  // namespace

std::vector<int8_t> bent_signs(int64_t n) {
  constexpr uint64_t kLowOfPairs = 0x5555555555555555;
  std::vector<int8_t> signs(static_cast<size_t>(n));
  for (uint64_t i = 0; i < signs.size(); ++i) signs[i] = std::popcount(i & (i >> 1) & kLowOfPairs) % 2 ? -1 : 1;
  return signs;
}

Rotation hadamard_fixing_ones(int64_t n, std::vector<int8_t> left, std::vector<int8_t> right,
                              std::vector<int64_t> permutation) {
  if (!Hadamard::exists(n)) return dense_fixing_ones(n, left, right, permutation);
  return Rotation::hadamard_fixing_ones(Hadamard::smallest_base(n), std::move(left), std::move(right),
                                        std::move(permutation));
}

Matrix<double> random_orthogonal_fixing_ones(int64_t n, Random& random, int threads) {
  Matrix<double> r(n, n);
  if (n == 0) return r;
  r(0, 0) = 1;
  const Matrix<double> o = random_orthogonal(n - 1, random, threads);
  for (int64_t i = 1; i < n; ++i) std::copy_n(&o.data[static_cast<size_t>((i - 1) * (n - 1))], n - 1, &r(i, 1));
  if (n == 1) return r;
  const double root = std::sqrt(static_cast<double>(n)), factor = 1 / (static_cast<double>(n) - root);
  std::vector<double> v(static_cast<size_t>(n), 1), sums(static_cast<size_t>(n));
  v[0] -= root;
  reflect_rows(r.view(), v.data(), factor);
  reflect_columns(r.view(), v.data(), factor, sums.data());
  return r;
}

}  // namespace spinor
