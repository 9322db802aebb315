#include "spinor/transform/probe_values.h"

#include <algorithm>
#include <utility>

namespace spinor {
namespace {

// It reads what a linear of the attention made, not the stream.
bool is_latent(const Model& model, const Module& value, const NormReads* reads) {
  const auto is_it = [&](const Module* raw) { return raw->weight == value.weight; };
  return !reads && std::ranges::none_of(model.stream().raw_readers, is_it);
}

}  // namespace

const NormReads* reads_before(const Model& model, const Module& linear) {
  for (const NormReads& reads : model.stream().norm_reads)
    for (const Module* reader : reads.linears)
      if (reader->weight == linear.weight) return &reads;
  return nullptr;
}

RowProducts constant_values(const ProbeSide& side, const Module& value, const Module* norm) {
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
RowProducts weight_values(const ProbeSide& side, const Module& value, const Module* norm, const Matrix<double>& x) {
  Module scale = norm ? *norm : Module();
  scale.bias = nullptr;
  return side.products(value, normed(x, side.model(), norm ? &scale : nullptr, value.shape.in));
}

void probe_value_output(ProbeContext& probe, const ValueOutput& pair) {
  const Module &value = *pair.value, &output = *pair.output;
  const Module &value_out = probe.twin(value), &output_out = probe.twin(output);
  const NormReads* reads = reads_before(probe.source.model(), value);
  const Module *norm = reads ? reads->norm : nullptr, *norm_out = norm ? &probe.twin(*norm) : nullptr;
  Matrix<double> x, x_output;
  if (is_latent(probe.source.model(), value, reads))
    x = x_output = random_matrix(probe.random, kProbes, value.shape.in);
  else
    x = probe.mtp.seen(norm, probe.x), x_output = probe.x_output;
  std::vector<double> heads(static_cast<size_t>(output.shape.in / pair.head_dim));
  for (double& weight : heads) weight = 2 * probe.random.uniform_double() - 1;
  compare_in_stream(
      probe, pair, {weight_name(value), weight_name(output)},
      through(probe.source, output, weight_values(probe.source, value, norm, x), heads),
      through(probe.output, output_out, weight_values(probe.output, value_out, norm_out, x_output), heads),
      "the values no longer fit the output projection: one of the two not rotated, rotated twice, or "
      "its heads out of order");
  if (value.bias || (norm && norm->bias))
    compare_in_stream(probe, pair, {value.bias ? value.bias->info.name : norm->bias->info.name},
                      through(probe.source, output, constant_values(probe.source, value, norm), heads),
                      through(probe.output, output_out, constant_values(probe.output, value_out, norm_out), heads),
                      "the bias of the values was not rotated with their weight");
}

double stream_error(const ProbeContext& probe, const Module& output, Matrix<double> a, const Matrix<double>& b) {
  probe.mtp.stretch(output, a);
  double worst = 0;
  for (int64_t p = 0; p < a.rows; ++p) {
    const StreamVector y{row(a, p), row(b, p)};
    worst = std::max(worst, gram_error(y, y, probe.u()));
    for (const StreamVector& other : probe.frame) worst = std::max(worst, gram_error(y, other, probe.u()));
  }
  return worst;
}

// Four bounds: two weights were rounded on the way, and arithmetic in float32 rounds about twice as often as it stores.
void compare_in_stream(ProbeContext& probe, const ValueOutput& pair, std::vector<std::string> tensors, Through a,
                       const Through& b, std::string hint) {
  const double u = probe.u(), worst = stream_error(probe, *pair.output, std::move(a.y), b.y);
  probe.add(pair.value == pair.output ? "reader-writer" : "value-output", std::move(tensors), pair.value->role,
            worst * u, 4 * kBoundFactor * u * std::max(a.cancellation, b.cancellation), std::move(hint));
}

}  // namespace spinor
