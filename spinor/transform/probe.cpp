#include "spinor/transform/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "spinor/base/error.h"
#include "spinor/transform/probe_arithmetic.h"
#include "spinor/transform/probe_mtp.h"
#include "spinor/transform/products.h"
#include "spinor/transform/stream_frame.h"

namespace spinor {
namespace {

constexpr int64_t kProbes = 2;      // random vectors per product
constexpr double kBoundFactor = 8;  // a bound is 8 roundoffs of random-sum size: rounding itself stays below 1

// A vector in a stream, and the tensor that wrote it.
struct Written {
  const Module* module;
  bool bias;
};

class Prober {
 public:
  Prober(const Model& source, const Model& output, const ProbeOptions& options)
      : source_(source), output_(output), options_(options), mtp_(source, output), random_(options.seed) {
    report_.unit_roundoff = unit_roundoff(output.checkpoint());
  }

  ProbeReport run() {
    check_same_shape();
    for (const ValueOutput& pair : source_.value_outputs()) values_.insert({pair.value, pair.output});
    for (const Stream& stream : mtp_.streams()) {  // the values are probed with what is left of the language model's
      probe_writers(stream);
      draw_stream(stream);
      for (const NormReads& reads : stream.norm_reads) probe_readers(reads);
      for (const Module* linear : stream.raw_readers) probe_readers({nullptr, {linear}, {}});
    }
    for (const ValueOutput& pair : source_.value_outputs())
      if (!mtp_.left_out(*pair.value)) probe_value_output(pair);
    for (const Module& module : source_.modules())
      if (!mtp_.left_out(module)) probe_unchanged(module);
    probe_mtp_outputs();
    return std::move(report_);
  }

 private:
  double u() const { return report_.unit_roundoff; }
  const Module& twin(const Module& module) const { return *output_.find(module.name); }

  void add(std::string what, std::vector<std::string> tensors, Role role, double error, double bound,
           std::string hint) {
    ProbeCheck check{std::move(what), std::move(tensors), std::string(name_of(role)), error, bound, {}};
    if (!check.passed()) check.hint = std::move(hint);
    report_.checks.push_back(std::move(check));
  }

  static std::string weight(const Module& module) { return weight_name(module); }
  static std::string bias(const Module& module) { return module.bias->info.name; }

  void check_same_shape() const {
    if (!source_.architecture() || source_.architecture() != output_.architecture())
      throw Error("verify",
                  fmt::format("cannot compare {} with {}", source_.architecture_name(), output_.architecture_name()));
    for (const Module& module : source_.modules()) {
      if (mtp_.left_out(module)) continue;
      const Module* other = output_.find(module.name);
      if (!other || !other->weight != !module.weight || !other->bias != !module.bias)
        throw Error(module.name, "has other tensors in the output than in the source");
      if (module.weight && other->weight->info.shape != module.weight->info.shape)
        throw Error(weight(module), "has another shape in the output than in the source");
    }
  }

  // ---- writers

  void probe_writers(const Stream& stream) {
    written_.clear();
    stream_.clear();
    frame_.clear();
    for (const Module* module : stream.writers) {
      if (!values_.contains(module) && !reads_too(*module)) add_writer(*module);
      if (module->bias) add_bias(*module);
    }
    const Agreement agreed = agreement(stream_, u(), kBoundFactor);
    report_writers(agreed);
    for (size_t i = 0; i < stream_.size(); ++i)
      if (agreed.good[i]) frame_.push_back(stream_[i]);
  }

  void add_writer(const Module& module) {
    const Matrix<double> z = random_matrix(random_, kProbes, inputs(module));
    Matrix<double> a = written(source_.checkpoint(), module, z, options_.threads);
    const Matrix<double> b = written(output_.checkpoint(), twin(module), z, options_.threads);
    mtp_.stretch(module, a);
    for (int64_t p = 0; p < kProbes; ++p) {
      written_.push_back({&module, false});
      stream_.push_back({row(a, p), row(b, p)});
    }
  }

  // Of a stack a random sum.
  void add_bias(const Module& module) {
    const Matrix<double> z = random_matrix(random_, 1, module.shape.count);
    const auto sum = [&](const Model& model, const Module& m) {
      if (module.shape.count == 1) return values(model.checkpoint(), *m.bias);
      return row(combine_rows(model.checkpoint(), *m.bias, z, options_.threads).y, 0);
    };
    Matrix<double> a(1, module.shape.out);
    a.data = sum(source_, module);
    mtp_.stretch(module, a);
    written_.push_back({&module, true});
    stream_.push_back({a.data, sum(output_, twin(module))});
  }

  void report_writers(const Agreement& agreed) {
    for (size_t i = 0; i < stream_.size();) {
      const Written& first = written_[i];
      double error = 0, change = 0;
      for (; i < stream_.size() && written_[i].module == first.module && written_[i].bias == first.bias; ++i) {
        error = std::max(error, agreed.error[i]);
        change = length(stream_[i].output) / length(stream_[i].source) - 1;
      }
      add("writer", {first.bias ? bias(*first.module) : weight(*first.module)}, first.module->role, error * u(),
          kBoundFactor * u(),
          fmt::format("its output does not fit the other writers' (length changed by {:.2g} %): not rotated, rotated "
                      "twice, centred, or by a matrix that is not orthogonal",
                      100 * change));
    }
  }

  // ---- readers

  // Random vectors of the stream, of rms 1, as combinations of the writers that agree.
  void draw_stream(const Stream& stream) {
    const int64_t n = stream.size();
    x_ = {kProbes, n};
    x_output_ = {kProbes, n};
    for (int64_t p = 0; p < kProbes; ++p) {
      for (const StreamVector& vector : frame_) {
        const double size = length(vector.source);
        if (size == 0) continue;
        const double factor = (2 * random_.uniform_double() - 1) / size;
        for (int64_t j = 0; j < n; ++j) {
          x_(p, j) += factor * vector.source[static_cast<size_t>(j)];
          x_output_(p, j) += factor * vector.output[static_cast<size_t>(j)];
        }
      }
      if (stream.centred) subtract_mean(x_, p), subtract_mean(x_output_, p);
      const double rms = length(row(x_, p)) / std::sqrt(static_cast<double>(n));
      for (int64_t j = 0; rms > 0 && j < n; ++j) x_(p, j) /= rms, x_output_(p, j) /= rms;
    }
  }

  // What a linear makes of x. Its bias is added where that of the norm may have gone into it.
  RowProducts outputs(const Model& model, const Module& linear, const Module* norm, const Matrix<double>& x,
                      const std::optional<Slice>& columns) const {
    Matrix<double> in = normed(x, model, norm, linear.shape.in);
    if (columns) keep_columns(in, *columns);
    RowProducts y = read_products(model.checkpoint(), linear, in, options_.threads);
    if (!norm || !norm->bias || !linear.bias) return y;
    const std::vector<double> b = values(model.checkpoint(), *linear.bias);
    for (int64_t p = 0; p < y.y.rows; ++p)
      for (int64_t i = 0; i < y.y.cols; ++i) {
        y.y(p, i) += b[static_cast<size_t>(i)];
        y.energy(p, i) += b[static_cast<size_t>(i)] * b[static_cast<size_t>(i)];
      }
    return y;
  }

  // Which rows of a linear are values, and so are checked with the output projection.
  std::optional<Slice> value_rows(const Module& linear) const {
    for (const Module* value : values_)
      if (value->part && value->weight == linear.weight) return value->part;
    return std::nullopt;
  }

  // max over rows of |y - y'| in units of rounding: u sqrt(sum_j (W'_ij x'_j)^2 + |x' error|^2 ...), and its rms.
  double reader_error(const RowProducts& source, const RowProducts& output, const std::optional<Slice>& values) const {
    double worst = 0, squares = 0, energies = 0;
    const auto count = static_cast<double>(source.y.data.size());
    for (const double e : output.energy.data) energies += e / count;
    for (const double e : source.energy.data) energies += e / count;
    for (size_t i = 0; i < source.y.data.size(); ++i) {
      const int64_t at = values ? static_cast<int64_t>(i) % source.y.cols % values->period : 0;
      if (values && at >= values->begin && at < values->begin + values->size) continue;
      const double error = source.y.data[i] - output.y.data[i];
      const double unit = u() * std::sqrt(source.energy.data[i] + output.energy.data[i] + 0.01 * energies);
      if (unit > 0) worst = std::max(worst, std::abs(error) / unit);
      if (!std::isfinite(error)) worst = INFINITY;
      squares += error * error / count;
    }
    const double rms = energies > 0 ? std::sqrt(squares / energies) / u() : 0;
    return std::max(worst, 4 * rms);
  }

  void probe_readers(const NormReads& reads) {
    const Module* norm_out = reads.norm ? &twin(*reads.norm) : nullptr;
    size_t failed = 0, failed_without_norm = 0;
    const size_t first = report_.checks.size();
    for (const Module* linear : reads.linears) {
      if (values_.contains(linear)) continue;
      if (writes_too(*linear)) {
        probe_reader_writer(*linear, reads);
        continue;
      }
      const std::optional<Slice> skipped = value_rows(*linear);
      const RowProducts a = outputs(source_, *linear, reads.norm, mtp_.seen(reads.norm, x_), reads.columns);
      const double error =
          reader_error(a, outputs(output_, twin(*linear), norm_out, x_output_, reads.columns), skipped);
      failed += error > kBoundFactor;
      if (error > kBoundFactor)
        failed_without_norm +=
            reader_error(a, outputs(output_, twin(*linear), nullptr, x_output_, reads.columns), skipped) > kBoundFactor;
      add("reader", {weight(*linear)}, linear->role, error * u(), kBoundFactor * u(),
          fmt::format("its product with the stream changed: not rotated, rotated twice, or {} not folded into it",
                      reads.norm ? reads.norm->name : "no norm"));
    }
    const bool norm_to_blame = failed > 0 && failed_without_norm == 0;
    if (norm_to_blame) report_.checks.resize(first);
    if (reads.norm && reads.norm->weight)
      add("norm", {weight(*reads.norm)}, Role::stream_norm, norm_to_blame ? 1 : 0, 0.5,
          "its readers have taken over the scale, but it still scales: it must be neutral");
  }

  // ---- readers that write

  bool writes_too(const Module& linear) const {
    const std::vector<const Module*>& writers = source_.stream().writers;
    return std::ranges::find(writers, &linear) != writers.end();
  }
  bool reads_too(const Module& writer) const {
    const std::vector<const Module*> readers = source_.stream().readers();
    return std::ranges::find(readers, &writer) != readers.end();
  }

  void probe_reader_writer(const Module& linear, const NormReads& reads) {
    const Matrix<double> x = mtp_.seen(reads.norm, x_);
    compare_in_stream(
        {&linear, &linear, 0}, {weight(linear)}, {outputs(source_, linear, reads.norm, x, reads.columns).y, 1},
        {outputs(output_, twin(linear), &twin(*reads.norm), x_output_, reads.columns).y, 1},
        fmt::format("what it writes for what it reads changed: one side not rotated, rotated twice, or {} "
                    "not folded into it",
                    reads.norm->name));
  }

  // ---- value and output

  // Null: it reads something else than the residual stream, which no rotation of that changes.
  const NormReads* reads_before(const Module& value) const {
    for (const NormReads& reads : source_.stream().norm_reads)
      for (const Module* linear : reads.linears)
        if (linear->weight == value.weight) return &reads;
    return nullptr;
  }

  // The values that a module adds whatever it reads: its bias, and what a bias of the norm makes of its weight.
  RowProducts constant_values(const Model& model, const Module& value, const Module* norm) const {
    const int64_t size = value.shape.out;
    RowProducts b{{1, size}, {1, size}};
    if (norm && norm->bias) {
      const Matrix<double> zero(1, value.shape.in);
      b = read_products(model.checkpoint(), value, normed(zero, model, norm, value.shape.in), options_.threads);
    }
    if (!value.bias) return b;
    const std::vector<double> bias = values(model.checkpoint(), *value.bias);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t at =
          value.part ? i / value.part->size * value.part->period + value.part->begin + i % value.part->size : i;
      b.y(0, i) += bias[static_cast<size_t>(at)];
      b.energy(0, i) += bias[static_cast<size_t>(at)] * bias[static_cast<size_t>(at)];
    }
    return b;
  }

  // The scale of a norm alone, so that what is constant can be blamed alone.
  RowProducts weight_values(const Model& model, const Module& value, const Module* norm,
                            const Matrix<double>& x) const {
    Module scale = norm ? *norm : Module();
    scale.bias = nullptr;
    return read_products(model.checkpoint(), value, normed(x, model, norm ? &scale : nullptr, value.shape.in),
                         options_.threads);
  }

  void probe_value_output(const ValueOutput& pair) {
    const Module &value = *pair.value, &output = *pair.output;
    const NormReads* reads = reads_before(value);
    const Module *norm = reads ? reads->norm : nullptr, *norm_out = norm ? &twin(*norm) : nullptr;
    const bool latent = !reads && !std::ranges::any_of(source_.stream().raw_readers,
                                                       [&](const Module* raw) { return raw->weight == value.weight; });
    const Matrix<double> z = latent ? random_matrix(random_, kProbes, value.shape.in) : Matrix<double>();
    std::vector<double> heads(static_cast<size_t>(output.shape.in / pair.head_dim));
    for (double& weight : heads) weight = 2 * random_.uniform_double() - 1;
    compare_in_stream(
        pair, {weight(value), weight(output)},
        through(source_, output, weight_values(source_, value, norm, latent ? z : mtp_.seen(norm, x_)), heads,
                options_.threads),
        through(output_, twin(output), weight_values(output_, twin(value), norm_out, latent ? z : x_output_), heads,
                options_.threads),
        "the values no longer fit the output projection: one of the two not rotated, rotated twice, or "
        "its heads out of order");
    if (value.bias || (norm && norm->bias))
      compare_in_stream(
          pair, {value.bias ? bias(value) : norm->bias->info.name},
          through(source_, output, constant_values(source_, value, norm), heads, options_.threads),
          through(output_, twin(output), constant_values(output_, twin(value), norm_out), heads, options_.threads),
          "the bias of the values was not rotated with their weight");
  }

  // Four bounds: two weights were rounded on the way, and arithmetic in float32 rounds about twice as often as it
  // stores.
  void compare_in_stream(const ValueOutput& pair, std::vector<std::string> tensors, Through a, const Through& b,
                         std::string hint) {
    mtp_.stretch(*pair.output, a.y);
    double worst = 0;
    for (int64_t p = 0; p < a.y.rows; ++p) {
      const StreamVector y{row(a.y, p), row(b.y, p)};
      worst = std::max(worst, gram_error(y, y, u()));
      for (const StreamVector& other : frame_) worst = std::max(worst, gram_error(y, other, u()));
    }
    add(pair.value == pair.output ? "reader-writer" : "value-output", std::move(tensors), pair.value->role, worst * u(),
        4 * kBoundFactor * u() * std::max(a.cancellation, b.cancellation), std::move(hint));
  }

  // ---- what a rotation leaves alone

  void probe_unchanged(const Module& module) {
    if (module.bias && keeps_bias(module)) compare(module, bias(module), *module.bias, *twin(module).bias);
    const bool stays = module.role == Role::qk_norm || module.role == Role::inner_norm ||
                       (module.role == Role::mtp && module.kind == ModuleKind::norm && !scales_stream(module));
    if (module.weight && stays) compare(module, weight(module), *module.weight, *twin(module).weight);
  }

  bool scales_stream(const Module& norm) const {
    return std::ranges::find(source_.stream().norm_reads, &norm, &NormReads::norm) != source_.stream().norm_reads.end();
  }

  void probe_mtp_outputs() {
    const std::vector<double> errors = mtp_.output_norm_errors();
    for (size_t i = 0; i < errors.size(); ++i)
      add("norm", {weight(*source_.mtp_heads()[i].output_norm)}, Role::mtp, errors[i], 4 * u(),
          "the head that the final norm is folded into reads what it scales: it must scale as much as the final norm");
  }

  // A reader that no bias of a norm goes into, and that makes no values.
  bool keeps_bias(const Module& module) const {
    if (values_.contains(&module) || value_rows(module)) return false;
    for (const Stream* stream : source_.streams())
      for (const NormReads& reads : stream->norm_reads)
        if (std::ranges::find(reads.linears, &module) != reads.linears.end()) return !reads.norm->bias;
    return false;
  }

  void compare(const Module& module, std::string tensor, const CheckpointTensor& a, const CheckpointTensor& b) {
    const std::vector<double> x = values(source_.checkpoint(), a), y = values(output_.checkpoint(), b);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i)
      worst = std::max(worst, std::abs(x[i] - y[i]) / std::max({std::abs(x[i]), std::abs(y[i]), 1e-30}));
    add("unchanged", {std::move(tensor)}, module.role, worst, 2 * u(), "a rotation must leave it alone");
  }

  const Model& source_;
  const Model& output_;
  const ProbeOptions& options_;
  const MtpProbe mtp_;
  Random random_;
  ProbeReport report_;
  std::set<const Module*> values_;            // and their outputs
  std::vector<Written> written_;              // who wrote stream_[i]
  std::vector<StreamVector> stream_, frame_;  // all; those that agree
  Matrix<double> x_, x_output_;               // (kProbes, hidden)
};

}  // namespace

ProbeReport probe(const Model& source, const Model& output, const ProbeOptions& options) {
  return Prober(source, output, options).run();
}

}  // namespace spinor
