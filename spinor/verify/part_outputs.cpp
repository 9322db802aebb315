#include "spinor/verify/part_outputs.h"

#include <algorithm>
#include <cmath>

#include "spinor/verify/arithmetic.h"
#include "spinor/verify/values.h"

namespace spinor::verify {

PartOutputs::PartOutputs(const Side& side, const Module& rows, const Module* norm, const Matrix<double>& x) {
  for (RowProducts products : {weight_values(side, rows, norm, x), constant_values(side, rows, norm)})
    for (int64_t p = 0; p < products.y.rows; ++p) add(row(products.y, p), row(products.energy, p));
}

// As reader_error(): a row of few terms shares in the rounding of its input.
void PartOutputs::add(const std::vector<double>& y, const std::vector<double>& energy) {
  double mean = 0;
  for (const double e : energy) mean += e / static_cast<double>(energy.size());
  std::vector<Term>& terms = terms_.emplace_back();
  for (size_t i = 0; i < y.size(); ++i) terms.push_back({y[i], std::sqrt(energy[i] + 0.01 * mean)});
}

Matrix<double> PartOutputs::weighed(const std::vector<double>& weights) const {
  Matrix<double> z(std::ssize(terms_), std::ssize(weights));
  for (int64_t p = 0; p < z.rows; ++p)
    for (int64_t i = 0; i < z.cols; ++i)
      z(p, i) = weights[static_cast<size_t>(i)] * terms_[static_cast<size_t>(p)][static_cast<size_t>(i)].y;
  return z;
}

void PartOutputs::reorder(std::span<const int64_t> order) {
  for (std::vector<Term>& terms : terms_) {
    const std::vector<Term> before = terms;
    for (size_t i = 0; i < order.size(); ++i) terms[i] = before[static_cast<size_t>(order[i])];
  }
}

void PartOutputs::multiply(size_t row, double factor) {
  for (std::vector<Term>& terms : terms_) terms[row] = {terms[row].y * factor, terms[row].size * factor};
}

BothOutputs outputs_of(const Context& context, const LinearPart& rows) {
  const NormReads* reads = reads_before(context.source.model(), *rows.linear);
  const Module* norm = reads ? reads->norm : nullptr;
  LinearPart twin = rows;
  twin.linear = &context.twin(*rows.linear);
  return {{context.source, as_module(rows), norm, context.mtp.seen(norm, context.x)},
          {context.output, as_module(twin), norm ? &context.twin(*norm) : nullptr, context.x_output}};
}

double product_error(Term a, Term b, Term c, Term d, double u) {
  const auto square = [](double x) { return x * x; };
  const auto moved = [&](Term x, Term y) {
    return square(x.size * y.y) + square(x.y * y.size) + square(u * x.size * y.size);
  };
  const double error = std::abs(a.y * b.y - c.y * d.y), unit = u * std::sqrt(moved(a, b) + moved(c, d));
  if (!std::isfinite(error)) return INFINITY;
  return unit > 0 ? error / unit : error > 0 ? INFINITY : 0;
}

double difference(Term a, Term b, double u) {
  const double error = std::abs(a.y - b.y), unit = u * std::sqrt(a.size * a.size + b.size * b.size);
  if (!std::isfinite(error)) return INFINITY;
  return unit > 0 ? error / unit : error > 0 ? INFINITY : 0;
}

double largest_difference(const BothOutputs& both, size_t row, double u) {
  double worst = 0;
  for (size_t p = 0; p < both.source.vectors(); ++p)
    worst = std::max(worst, difference(both.source[p][row], both.output[p][row], u));
  return worst;
}

double multiple_error(const BothOutputs& both, size_t row, double u) {
  double worst = 0;
  for (size_t p = 0; p < both.source.vectors(); ++p)
    for (size_t q = 0; q < p; ++q)
      worst = std::max(
          worst, product_error(both.source[p][row], both.output[q][row], both.output[p][row], both.source[q][row], u));
  return worst;
}

double multiple_error(const BothOutputs& both, double u) {
  double worst = 0;
  for (size_t i = 0; i < both.source.rows(); ++i) {
    double sum = 0, rounding = 0;
    for (size_t p = 0; p < both.source.vectors(); ++p) {
      const Term a = both.source[p][i], b = both.output[p][i];
      sum += a.y * b.y;
      rounding += kBoundFactor * u * (a.size * std::abs(b.y) + b.size * std::abs(a.y) + a.size * b.size * u);
    }
    if (sum < -rounding) return INFINITY;
    worst = std::max(worst, multiple_error(both, i, u));
  }
  return worst;
}

}  // namespace spinor::verify
