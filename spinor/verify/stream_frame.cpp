#include "spinor/verify/stream_frame.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "spinor/base/view.h"

namespace spinor::verify {
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

namespace {

struct Disagreement {
  int pairs = 0;  // above the bound
  double worst = 0;
  auto operator<=>(const Disagreement&) const = default;
};

Disagreement disagreement(const Matrix<double>& errors, const std::vector<char>& good, size_t i, double bound) {
  Disagreement result;
  for (size_t j = 0; j < good.size(); ++j) {
    if (!good[j]) continue;
    const double error = errors(static_cast<int64_t>(i), static_cast<int64_t>(j));
    result.pairs += error > bound;
    result.worst = std::max(result.worst, error);
  }
  return result;
}

}  // namespace

double length(const std::vector<double>& v) {
  return std::sqrt(dot(v, v));
}

double gram_error(const StreamVector& a, const StreamVector& b, double roundoff) {
  const double size = 0.5 * (length(a.source) * length(b.source) + length(a.output) * length(b.output));
  const double moved = std::abs(dot(a.source, b.source) - dot(a.output, b.output));
  if (!std::isfinite(size) || !std::isfinite(moved)) return std::numeric_limits<double>::infinity();
  if (size == 0) return 0;
  return moved / (roundoff * size / std::sqrt(static_cast<double>(a.source.size())));
}

Agreement agreement(const std::vector<StreamVector>& vectors, double roundoff, double bound) {
  const auto n = static_cast<int64_t>(vectors.size());
  Matrix<double> errors(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      errors(i, j) = gram_error(vectors[static_cast<size_t>(i)], vectors[static_cast<size_t>(j)], roundoff);
  Agreement result{std::vector<char>(vectors.size(), 1), {}};
  while (true) {
    size_t worst = vectors.size();
    Disagreement most;
    for (size_t i = 0; i < vectors.size(); ++i) {
      const Disagreement d = result.good[i] ? disagreement(errors, result.good, i, bound) : Disagreement{};
      if (d.pairs > 0 && d > most) worst = i, most = d;
    }
    if (worst == vectors.size()) break;
    result.good[worst] = 0;
  }
  for (size_t i = 0; i < vectors.size(); ++i)
    result.error.push_back(std::max(disagreement(errors, result.good, i, bound).worst, result.good[i] ? 0 : 2 * bound));
  return result;
}

}  // namespace spinor::verify
