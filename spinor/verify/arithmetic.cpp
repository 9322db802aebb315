#include "spinor/verify/arithmetic.h"

#include <algorithm>
#include <cmath>

#include "spinor/transform/products.h"

namespace spinor::verify {

std::vector<double> row(const Matrix<double>& m, int64_t i) {
  return {m.data.begin() + i * m.cols, m.data.begin() + (i + 1) * m.cols};
}

Matrix<double> random_matrix(Random& random, int64_t rows, int64_t cols) {
  Matrix<double> m(rows, cols);
  for (double& v : m.data) v = 2 * random.uniform_double() - 1;
  return m;
}

void keep_columns(Matrix<double>& x, const Slice& columns) {
  for (int64_t p = 0; p < x.rows; ++p)
    for (int64_t j = 0; j < x.cols; ++j)
      if (const int64_t at = j % columns.period - columns.begin; at < 0 || at >= columns.size) x(p, j) = 0;
}

void subtract_mean(Matrix<double>& x, int64_t p) {
  double mean = 0;
  for (int64_t j = 0; j < x.cols; ++j) mean += x(p, j) / static_cast<double>(x.cols);
  for (int64_t j = 0; j < x.cols; ++j) x(p, j) -= mean;
}

Matrix<double> normed(const Matrix<double>& x, const Model& model, const Module* norm, int64_t width) {
  Matrix<double> y(x.rows, width);
  for (int64_t p = 0; p < y.rows; ++p)
    for (int64_t j = 0; j < width; ++j) y(p, j) = x((p + j / x.cols) % x.rows, j % x.cols);
  if (!norm || !norm->weight) return y;
  const std::vector<double> g = values(model.checkpoint(), *norm->weight),
                            beta = norm->bias ? values(model.checkpoint(), *norm->bias) : std::vector<double>(g.size());
  for (int64_t p = 0; p < y.rows; ++p)
    for (int64_t j = 0; j < width; ++j) {
      const auto i = static_cast<size_t>(j) % g.size();
      y(p, j) = y(p, j) * (g[i] + norm->offset) + beta[i];
    }
  return y;
}

std::vector<double> mix(const std::vector<double>& v, const std::vector<double>& weights, size_t d) {
  const size_t group = weights.size() * d / v.size();
  std::vector<double> a(weights.size() * d);
  for (size_t head = 0; head < weights.size(); ++head)
    for (size_t i = 0; i < d; ++i) a[head * d + i] = weights[head] * v[head / group * d + i];
  return a;
}

Through through(const Side& side, const Module& output, const RowProducts& v, const std::vector<double>& heads) {
  const int64_t k = v.y.rows, cols = output.shape.in;
  const auto d = static_cast<size_t>(cols) / heads.size();
  Matrix<double> a(2 * k, cols);  // the mixed values; below them the size of the terms they are sums of
  std::vector<double> weights = heads;
  for (double& weight : weights) weight = std::abs(weight);
  for (int64_t p = 0; p < k; ++p) {
    const std::vector<double> mixed = mix(row(v.y, p), heads, d);
    std::vector<double> terms = row(v.energy, p);
    for (double& term : terms) term = std::sqrt(term);
    terms = mix(terms, weights, d);
    for (int64_t j = 0; j < cols; ++j) {
      a(p, j) = mixed[static_cast<size_t>(j)];
      const double term = terms[static_cast<size_t>(j)];
      // Not std::hypot, which binds to the libm of the machine that builds; terms are roots of squares: none overflows.
      a(k + p, j) = std::sqrt(a(p, j) * a(p, j) + term * term);
    }
  }
  const RowProducts products = side.products(output, a);
  Through result{{k, output.shape.out}, 1};  // of a stack the sum
  double square = 0, terms = 0;
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t i = 0; i < products.y.cols; ++i) {
      result.y(p, i % output.shape.out) += products.y(p, i);
      terms += products.energy(k + p, i);
    }
    for (int64_t i = 0; i < output.shape.out; ++i) square += result.y(p, i) * result.y(p, i);
  }
  if (square > 0) result.cancellation = std::max(1.0, std::sqrt(terms / square));
  return result;
}

}  // namespace spinor::verify
