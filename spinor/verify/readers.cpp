#include "spinor/verify/readers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "spinor/verify/arithmetic.h"
#include "spinor/verify/values.h"

namespace spinor::verify {
namespace {

// What a linear makes of x. Its bias is added where that of the norm may have gone into it.
RowProducts outputs(const Side& side, const Module& linear, const Module* norm, const Matrix<double>& x,
                    const std::optional<Slice>& columns) {
  Matrix<double> in = normed(x, side.model(), norm, linear.shape.in);
  if (columns) keep_columns(in, *columns);
  RowProducts y = side.products(linear, in);
  if (!norm || !norm->bias || !linear.bias) return y;
  const std::vector<double> b = side.bias(linear);
  for (int64_t p = 0; p < y.y.rows; ++p)
    for (int64_t i = 0; i < y.y.cols; ++i) {
      y.y(p, i) += b[static_cast<size_t>(i)];
      y.energy(p, i) += b[static_cast<size_t>(i)] * b[static_cast<size_t>(i)];
    }
  return y;
}

// max over rows of |y - y'| in units of rounding: u sqrt(sum_j (W'_ij x'_j)^2 + |x' error|^2 ...), and its rms. Rows
// with values are left out.
double reader_error(const RowProducts& source, const RowProducts& output, const std::optional<Slice>& values,
                    double u) {
  double worst = 0, squares = 0, energies = 0;
  const auto count = static_cast<double>(source.y.data.size());
  for (const double e : output.energy.data) energies += e / count;
  for (const double e : source.energy.data) energies += e / count;
  for (size_t i = 0; i < source.y.data.size(); ++i) {
    const int64_t at = values ? static_cast<int64_t>(i) % source.y.cols % values->period : 0;
    if (values && at >= values->begin && at < values->begin + values->size) continue;
    const double error = source.y.data[i] - output.y.data[i];
    const double unit = u * std::sqrt(source.energy.data[i] + output.energy.data[i] + 0.01 * energies);
    if (unit > 0) worst = std::max(worst, std::abs(error) / unit);
    if (!std::isfinite(error)) worst = INFINITY;
    squares += error * error / count;
  }
  const double rms = energies > 0 ? std::sqrt(squares / energies) / u : 0;
  return std::max(worst, 4 * rms);
}

bool writes_too(const Context& context, const Module& linear) {
  const std::vector<const Module*>& writers = context.source.model().stream().writers;
  return std::ranges::find(writers, &linear) != writers.end();
}

void check_reader_writer(Context& context, const Module& linear, const NormReads& reads) {
  const Matrix<double> x = context.mtp.seen(reads.norm, context.x);
  const Module* norm = reads.norm ? &context.twin(*reads.norm) : nullptr;
  compare_in_stream(context, {&linear, &linear, 0}, {weight_name(linear)},
                    {outputs(context.source, linear, reads.norm, x, reads.columns).y, 1},
                    {outputs(context.output, context.twin(linear), norm, context.x_output, reads.columns).y, 1},
                    fmt::format("what it writes for what it reads changed: one side not rotated, rotated twice, or {} "
                                "not folded into it",
                                reads.norm ? reads.norm->name : "no norm"));
}

// Errors of one reader, in roundoffs: with the output's norm before it, and as if that were neutral.
struct ReaderErrors {
  double with_norm = 0, without = 0;
};

ReaderErrors errors_of(const Context& context, const Module& linear, const NormReads& reads) {
  const std::optional<Slice> skipped = value_rows(context, linear);
  const RowProducts a =
      outputs(context.source, linear, reads.norm, context.mtp.seen(reads.norm, context.x), reads.columns);
  const auto error = [&](const Module* norm) {
    return reader_error(a, outputs(context.output, context.twin(linear), norm, context.x_output, reads.columns),
                        skipped, context.u());
  };
  ReaderErrors errors{.with_norm = error(reads.norm ? &context.twin(*reads.norm) : nullptr)};
  if (errors.with_norm > kBoundFactor) errors.without = error(nullptr);
  return errors;
}

// Where all fail with the norm and none without it, the norm is to blame.
void check_norm_reads(Context& context, const NormReads& reads) {
  size_t failed = 0, failed_without_norm = 0;
  const size_t first = context.report.checks.size();
  for (const Module* linear : reads.linears) {
    if (context.values.contains(linear)) continue;
    if (writes_too(context, *linear)) {
      check_reader_writer(context, *linear, reads);
      continue;
    }
    const ReaderErrors errors = errors_of(context, *linear, reads);
    failed += errors.with_norm > kBoundFactor;
    failed_without_norm += errors.without > kBoundFactor;
    context.add("reader", {weight_name(*linear)}, linear->role, errors.with_norm * context.u(),
                kBoundFactor * context.u(),
                fmt::format("its product with the stream changed: not rotated, rotated twice, or {} not folded into it",
                            reads.norm ? reads.norm->name : "no norm"));
  }
  const bool norm_to_blame = failed > 0 && failed_without_norm == 0;
  if (norm_to_blame) context.report.checks.resize(first);
  if (reads.norm && reads.norm->weight)
    context.add("norm", {weight_name(*reads.norm)}, Role::stream_norm, norm_to_blame ? 1 : 0, 0.5,
                "its readers have taken over the scale, but it still scales: it must be neutral");
}

}  // namespace

void draw_stream(Context& context, const Stream& stream) {
  const int64_t n = stream.size();
  Matrix<double> x(kVectors, n), x_output(kVectors, n);
  for (int64_t p = 0; p < kVectors; ++p) {
    for (const StreamVector& vector : context.frame) {
      const double size = length(vector.source);
      if (size == 0) continue;
      const double factor = (2 * context.random.uniform_double() - 1) / size;
      for (int64_t j = 0; j < n; ++j) {
        x(p, j) += factor * vector.source[static_cast<size_t>(j)];
        x_output(p, j) += factor * vector.output[static_cast<size_t>(j)];
      }
    }
    if (stream.centred) subtract_mean(x, p), subtract_mean(x_output, p);
    const double rms = length(row(x, p)) / std::sqrt(static_cast<double>(n));
    for (int64_t j = 0; rms > 0 && j < n; ++j) x(p, j) /= rms, x_output(p, j) /= rms;
  }
  context.x = std::move(x);
  context.x_output = std::move(x_output);
}

void check_readers(Context& context, const Stream& stream) {
  for (const NormReads& reads : stream.norm_reads) check_norm_reads(context, reads);
  for (const Module* linear : stream.raw_readers) check_norm_reads(context, {nullptr, {linear}, {}});
}

}  // namespace spinor::verify
