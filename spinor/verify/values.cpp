#include "spinor/verify/values.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace spinor::verify {
namespace {

// It reads what a linear of the attention made, not the stream.
bool is_latent(const Model& model, const Module& value, const NormReads* reads) {
  const auto is_it = [&](const Module* raw) { return raw->weight == value.weight; };
  return !reads && std::ranges::none_of(model.stream().raw_readers, is_it);
}

// Else what it writes is read within its block, and no rotation of a stream may change it.
bool writes_to_a_stream(const Context& context, const Module& output) {
  return std::ranges::any_of(context.mtp.streams(), [&](const Stream& stream) {
    return std::ranges::find(stream.writers, &output) != stream.writers.end();
  });
}

// |a - b| / |a|; infinity for NaN.
double change(const StreamVector& y) {
  std::vector<double> difference = y.source;
  for (size_t i = 0; i < difference.size(); ++i) difference[i] -= y.output[i];
  const double moved = length(difference);
  if (!std::isfinite(moved)) return std::numeric_limits<double>::infinity();
  return moved == 0 ? 0 : moved / length(y.source);
}

}  // namespace

const NormReads* reads_before(const Model& model, const Module& linear) {
  for (const NormReads& reads : model.stream().norm_reads)
    for (const Module* reader : reads.linears)
      if (reader->weight == linear.weight) return &reads;
  return nullptr;
}

RowProducts constant_values(const Side& side, const Module& value, const Module* norm) {
  const int64_t size = value.shape.out * value.shape.count;
  RowProducts b{{1, size}, {1, size}};
  if (norm && norm->bias) {
    const Matrix<double> zero(1, value.shape.in);
    b = side.products(value, normed(zero, side.model(), norm, value.shape.in));
  }
  if (!value.bias) return b;
  const std::vector<double> bias = side.bias(value);
  for (int64_t i = 0; i < size; ++i) {
    const int64_t at =
        value.part ? i / value.part->size * value.part->period + value.part->begin + i % value.part->size : i;
    b.y(0, i) += bias[static_cast<size_t>(at)];
    b.energy(0, i) += bias[static_cast<size_t>(at)] * bias[static_cast<size_t>(at)];
  }
  return b;
}

// The scale of a norm alone, so that what is constant can be blamed alone.
RowProducts weight_values(const Side& side, const Module& value, const Module* norm, const Matrix<double>& x) {
  Module scale = norm ? *norm : Module();
  scale.bias = nullptr;
  return side.products(value, normed(x, side.model(), norm ? &scale : nullptr, value.shape.in));
}

void check_value_output(Context& context, const ValueOutput& pair) {
  const Module &value = *pair.value, &output = *pair.output;
  const Module &value_out = context.twin(value), &output_out = context.twin(output);
  const NormReads* reads = reads_before(context.source.model(), value);
  const Module *norm = reads ? reads->norm : nullptr, *norm_out = norm ? &context.twin(*norm) : nullptr;
  Matrix<double> x, x_output;
  if (is_latent(context.source.model(), value, reads))
    x = x_output = random_matrix(context.random, kVectors, value.shape.in);
  else
    x = context.mtp.seen(norm, context.x), x_output = context.x_output;
  std::vector<double> heads(static_cast<size_t>(output.shape.in / pair.head_dim));
  for (double& weight : heads) weight = 2 * context.random.uniform_double() - 1;
  compare_in_stream(
      context, pair, {weight_name(value), weight_name(output)},
      through(context.source, output, weight_values(context.source, value, norm, x), heads),
      through(context.output, output_out, weight_values(context.output, value_out, norm_out, x_output), heads),
      "the values no longer fit the output projection: one of the two not rotated, rotated twice, or "
      "its heads out of order");
  if (value.bias || (norm && norm->bias))
    compare_in_stream(context, pair, {value.bias ? value.bias->info.name : norm->bias->info.name},
                      through(context.source, output, constant_values(context.source, value, norm), heads),
                      through(context.output, output_out, constant_values(context.output, value_out, norm_out), heads),
                      "the bias of the values was not rotated with their weight");
}

double stream_error(const Context& context, const Module& output, Matrix<double> a, const Matrix<double>& b) {
  context.mtp.stretch(output, a);
  const bool on_stream = writes_to_a_stream(context, output);
  double worst = 0;
  for (int64_t p = 0; p < a.rows; ++p) {
    const StreamVector y{row(a, p), row(b, p)};
    worst = std::max(worst, gram_error(y, y, context.u()));
    if (!on_stream) {
      worst = std::max(worst, change(y) / context.u());
      continue;
    }
    for (const StreamVector& other : context.frame) worst = std::max(worst, gram_error(y, other, context.u()));
  }
  return worst;
}

// Four bounds: two weights were rounded on the way, and arithmetic in float32 rounds about twice as often as it stores.
void compare_in_stream(Context& context, const ValueOutput& pair, std::vector<std::string> tensors, Through a,
                       const Through& b, std::string hint) {
  const double u = context.u(), worst = stream_error(context, *pair.output, std::move(a.y), b.y);
  context.add(pair.value == pair.output ? "reader-writer" : "value-output", std::move(tensors), pair.value->role,
              worst * u, 4 * kBoundFactor * u * std::max(a.cancellation, b.cancellation), std::move(hint));
}

}  // namespace spinor::verify
