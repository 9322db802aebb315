#include "spinor/transform/probe_arithmetic.h"

#include "spinor/transform/products.h"

namespace spinor {

std::vector<double> row(const Matrix<double>& m, int64_t i) {
  return {m.data.begin() + i * m.cols, m.data.begin() + (i + 1) * m.cols};
}

Matrix<double> random_matrix(Random& random, int64_t rows, int64_t cols) {
  Matrix<double> m(rows, cols);
  for (double& v : m.data) v = 2 * random.uniform_double() - 1;
  return m;
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

}  // namespace spinor
