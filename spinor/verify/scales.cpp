#include "spinor/verify/scales.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "spinor/base/list.h"
#include "spinor/transform/scales.h"
#include "spinor/verify/arithmetic.h"
#include "spinor/verify/readers.h"
#include "spinor/verify/values.h"

namespace spinor::verify {
namespace {

// A sum, and how large the terms are whose rounding moves it.
struct Term {
  double y = 0, size = 0;
};

// What some rows make of the stream: kVectors random vectors, then what they add whatever they read.
class ScaledOutputs {
 public:
  ScaledOutputs(const Side& side, const Module& rows, const Module* norm, const Matrix<double>& x) {
    for (RowProducts products : {weight_values(side, rows, norm, x), constant_values(side, rows, norm)})
      for (int64_t p = 0; p < products.y.rows; ++p) add(row(products.y, p), row(products.energy, p));
  }

  size_t vectors() const { return terms_.size(); }
  const std::vector<Term>& operator[](size_t vector) const { return terms_[vector]; }
  // Each entry times its weight, one vector a row.
  Matrix<double> weighed(const std::vector<double>& weights) const {
    Matrix<double> z(std::ssize(terms_), std::ssize(weights));
    for (int64_t p = 0; p < z.rows; ++p)
      for (int64_t i = 0; i < z.cols; ++i)
        z(p, i) = weights[static_cast<size_t>(i)] * terms_[static_cast<size_t>(p)][static_cast<size_t>(i)].y;
    return z;
  }

 private:
  std::vector<std::vector<Term>> terms_;

  // As reader_error(): a row of few terms shares in the rounding of its input.
  void add(const std::vector<double>& y, const std::vector<double>& energy) {
    double mean = 0;
    for (const double e : energy) mean += e / static_cast<double>(energy.size());
    std::vector<Term>& terms = terms_.emplace_back();
    for (size_t i = 0; i < y.size(); ++i) terms.push_back({y[i], std::sqrt(energy[i] + 0.01 * mean)});
  }
};

// The same rows in both models.
struct BothOutputs {
  ScaledOutputs source, output;
};

BothOutputs outputs_of(const Context& context, const ScaledLinear& rows) {
  const NormReads* reads = reads_before(context.source.model(), *rows.linear);
  const Module* norm = reads ? reads->norm : nullptr;
  ScaledLinear twin = rows;
  twin.linear = &context.twin(*rows.linear);
  return {{context.source, as_module(rows), norm, context.mtp.seen(norm, context.x)},
          {context.output, as_module(twin), norm ? &context.twin(*norm) : nullptr, context.x_output}};
}

// |a b - c d| in roundoffs.
double product_error(Term a, Term b, Term c, Term d, double u) {
  const auto square = [](double x) { return x * x; };
  const auto moved = [&](Term x, Term y) {
    return square(x.size * y.y) + square(x.y * y.size) + square(u * x.size * y.size);
  };
  const double error = std::abs(a.y * b.y - c.y * d.y), unit = u * std::sqrt(moved(a, b) + moved(c, d));
  if (!std::isfinite(error)) return INFINITY;
  return unit > 0 ? error / unit : error > 0 ? INFINITY : 0;
}

// How far rows are from one multiple each of what they were; of a negative one infinity, as no scale is.
double multiple_error(const BothOutputs& both, double u) {
  double worst = 0;
  for (size_t i = 0; i < both.source[0].size(); ++i) {
    double sum = 0, rounding = 0;
    for (size_t p = 0; p < both.source.vectors(); ++p) {
      const Term a = both.source[p][i], b = both.output[p][i];
      sum += a.y * b.y;
      rounding += kBoundFactor * u * (a.size * std::abs(b.y) + b.size * std::abs(a.y) + a.size * b.size * u);
      for (size_t q = 0; q < p; ++q)
        worst = std::max(worst, product_error(a, both.output[q][i], b, both.source[q][i], u));
    }
    if (sum < -rounding) return INFINITY;
  }
  return worst;
}

// Rows that changed.
std::vector<bool> changed_rows(const BothOutputs& both, double u) {
  std::vector<bool> changed(both.source[0].size());
  for (size_t i = 0; i < changed.size(); ++i)
    for (size_t p = 0; p < both.source.vectors(); ++p) {
      const Term a = both.source[p][i], b = both.output[p][i];
      changed[i] = changed[i] || std::abs(a.y - b.y) > kBoundFactor * u * std::sqrt(a.size * a.size + b.size * b.size);
    }
  return changed;
}

// In units of the bound, as those below. All rows are compared, and once more those alone that changed, so that the
// others do not hide a few.
double mlp_error(Context& context, const LegalScale& scale) {
  const double u = context.u();
  const BothOutputs both = outputs_of(context, scale.writer);
  double worst = multiple_error(both, u) / kBoundFactor;
  const Module& out = *scale.readers.front().linear;
  std::vector<double> weights(static_cast<size_t>(scale.writer.size));
  for (double& weight : weights) weight = 2 * context.random.uniform_double() - 1;
  const auto compare = [&] {
    const double error = stream_error(context, out, context.source.written(out, both.source.weighed(weights)),
                                      context.output.written(context.twin(out), both.output.weighed(weights)));
    worst = std::max(worst, error / (4 * kBoundFactor));
  };
  compare();
  const std::vector<bool> changed = changed_rows(both, u);
  if (std::ranges::none_of(changed, std::identity())) return INFINITY;
  for (size_t i = 0; i < weights.size(); ++i)
    if (!changed[i]) weights[i] = 0;
  compare();
  const Slice* rows = scale.writer.part ? &*scale.writer.part : nullptr;
  const NormReads* reads = reads_before(context.source.model(), *scale.writer.linear);
  const NormReads raw{nullptr, {scale.writer.linear}, {}};
  if (rows)
    worst = std::max(worst, error_of_others(context, *scale.writer.linear, reads ? *reads : raw, *rows) / kBoundFactor);
  return worst;
}

double key_error(const Context& context, const LegalScale& scale) {
  const ScaledLinear& reader = scale.readers.front();
  const BothOutputs keys = outputs_of(context, scale.writer), queries = outputs_of(context, reader);
  double worst = std::max(multiple_error(keys, context.u()), multiple_error(queries, context.u()));
  for (int64_t row = 0; row < reader.size; ++row) {
    const int64_t entry = scale.entry_read(reader, row);
    for (const int64_t met : {entry, scale.partner(entry)})
      for (size_t p = 0; p < kVectors; ++p)
        for (size_t q = 0; q < kVectors; ++q) {
          const auto i = static_cast<size_t>(row), j = static_cast<size_t>(met);
          worst = std::max(worst, product_error(queries.source[p][i], keys.source[q][j], queries.output[p][i],
                                                keys.output[q][j], context.u()));
        }
  }
  return worst / kBoundFactor;
}

// Tensors that a scale of an MLP or of keys changes, rows first.
std::vector<std::string> changed_tensors(const LegalScale& scale) {
  std::vector<std::string> tensors;
  const auto add = [&](const ScaledLinear& side, bool bias) {
    tensors.push_back(weight_name(*side.linear));
    if (bias && side.linear->bias) tensors.push_back(side.linear->bias->info.name);
  };
  add(scale.writer, true);
  add(scale.readers.front(), scale.kind == ScaleKind::k);
  return tensors;
}

void check_scale(Context& context, const LegalScale& scale) {
  const std::vector<std::string> tensors = changed_tensors(scale);
  const auto failed = [&](const Check& check) {
    const bool blames_one = check.what == "reader" || check.what == "writer" || check.what == "unchanged";
    return blames_one && !check.passed() && contains(tensors, check.tensors.front());
  };
  std::vector<Check>& checks = context.report.checks;
  if (std::ranges::none_of(checks, failed)) return;
  const bool keys = scale.kind == ScaleKind::k;
  const double error = keys ? key_error(context, scale) : mlp_error(context, scale);
  if (!(error <= 1)) return;  // what was found first says more
  std::erase_if(checks, failed);
  const double bound = kBoundFactor * context.u();
  context.add(fmt::format("scale {}", name_in_table(scale.kind)), tensors, scale.writer.linear->role, error * bound,
              bound, "");
}

}  // namespace

void check_scales(Context& context) {
  if (context.report.passed()) return;
  for (const LegalScale& scale : legal_scales(context.source.model()))
    if (scale.kind != ScaleKind::v) check_scale(context, scale);
}

}  // namespace spinor::verify
