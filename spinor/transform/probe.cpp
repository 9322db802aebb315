#include "spinor/transform/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/linalg/random.h"
#include "spinor/transform/products.h"
#include "spinor/transform/stream_frame.h"

namespace spinor {
namespace {

constexpr int64_t kProbes = 2;      // random vectors per product
constexpr double kBoundFactor = 8;  // a bound is 8 roundoffs of random-sum size: rounding itself stays below 1

// A vector in the stream, and the tensor that wrote it.
struct Written {
  const Module* module;
  bool bias;
};

std::vector<double> row(const Matrix<double>& m, int64_t i) {
  return {m.data.begin() + i * m.cols, m.data.begin() + (i + 1) * m.cols};
}

Matrix<double> random_matrix(Random& random, int64_t rows, int64_t cols) {
  Matrix<double> m(rows, cols);
  for (double& v : m.data) v = 2 * random.uniform_double() - 1;
  return m;
}

class Prober {
 public:
  Prober(const Model& source, const Model& output, const ProbeOptions& options)
      : source_(source), output_(output), options_(options), random_(options.seed) {
    report_.unit_roundoff = unit_roundoff(output.checkpoint());
  }

  ProbeReport run() {
    check_same_shape();
    probe_writers();
    draw_stream();
    for (const NormReads& reads : source_.stream().norm_reads) probe_readers(reads);
    for (const ValueOutput& pair : source_.value_outputs()) probe_value_output(pair);
    for (const Module& module : source_.modules()) probe_unchanged(module);
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
  static std::string bias(const Module& module) { return module.name + ".bias"; }

  void check_same_shape() const {
    if (!source_.architecture() || source_.architecture() != output_.architecture())
      throw Error("verify",
                  fmt::format("cannot compare {} with {}", source_.architecture_name(), output_.architecture_name()));
    check_covered();
    for (const Module& module : source_.modules()) {
      const Module* other = output_.find(module.name);
      if (!other || !other->weight != !module.weight || !other->bias != !module.bias)
        throw Error(module.name, "has other tensors in the output than in the source");
      if (module.weight && other->weight->info.shape != module.weight->info.shape)
        throw Error(weight(module), "has another shape in the output than in the source");
    }
  }

  // What these products do not hold for yet.
  void check_covered() const {
    for (const Module& module : source_.modules()) {
      const bool other = module.kind == ModuleKind::part || module.shape.transposed || module.shape.count > 1;
      if (!other && !(module.kind == ModuleKind::norm && module.bias)) continue;
      throw Error(module.name, "verify without a text cannot check fused values, stacked weights and norms with a bias",
                  "compare the logits of both models in transformers");
    }
  }

  // ---- writers

  void probe_writers() {
    for (const Module* module : source_.stream().writers) {
      if (module->role != Role::attn_o) add_writer(*module);
      if (module->bias) {
        written_.push_back({module, true});
        stream_.push_back(
            {values(source_.checkpoint(), *module->bias), values(output_.checkpoint(), *twin(*module).bias)});
      }
    }
    const Agreement agreed = agreement(stream_, u(), kBoundFactor);
    report_writers(agreed);
    for (size_t i = 0; i < stream_.size(); ++i)
      if (agreed.good[i]) frame_.push_back(stream_[i]);
  }

  void add_writer(const Module& module) {
    const bool embedding = module.kind == ModuleKind::embedding;
    const TensorInfo& info = module.weight->info;
    const Matrix<double> z = random_matrix(random_, kProbes, embedding ? info.rows() : info.cols());
    const auto product = [&](const Model& model, const Module& m) {
      return embedding ? combine_rows(model.checkpoint(), *m.weight, z, options_.threads)
                       : row_products(model.checkpoint(), *m.weight, z, options_.threads).y;
    };
    const Matrix<double> a = product(source_, module), b = product(output_, twin(module));
    for (int64_t p = 0; p < kProbes; ++p) {
      written_.push_back({&module, false});
      stream_.push_back({row(a, p), row(b, p)});
    }
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
  void draw_stream() {
    const int64_t n = source_.hidden_size();
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
      const double rms = length(row(x_, p)) / std::sqrt(static_cast<double>(n));
      for (int64_t j = 0; rms > 0 && j < n; ++j) x_(p, j) /= rms, x_output_(p, j) /= rms;
    }
  }

  Matrix<double> scaled(const Matrix<double>& x, const Model& model, const Module& norm_module) const {
    if (!norm_module.weight) return x;
    const std::vector<double> g = values(model.checkpoint(), *norm_module.weight);
    Matrix<double> y = x;
    for (int64_t p = 0; p < y.rows; ++p)
      for (int64_t j = 0; j < y.cols; ++j) y(p, j) *= g[static_cast<size_t>(j)] + norm_module.offset;
    return y;
  }

  // max over rows of |y - y'| in units of rounding: u sqrt(sum_j (W'_ij x'_j)^2 + |x' error|^2 ...), and its rms.
  double reader_error(const RowProducts& source, const RowProducts& output) const {
    double worst = 0, squares = 0, energies = 0;
    const auto count = static_cast<double>(source.y.data.size());
    for (const double e : output.energy.data) energies += e / count;
    for (const double e : source.energy.data) energies += e / count;
    for (size_t i = 0; i < source.y.data.size(); ++i) {
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
    const Module& norm_out = twin(*reads.norm);
    const Matrix<double> x = scaled(x_, source_, *reads.norm), x_out = scaled(x_output_, output_, norm_out);
    size_t failed = 0, failed_without_norm = 0;
    const size_t first = report_.checks.size();
    for (const Module* linear : reads.linears) {
      const RowProducts a = row_products(source_.checkpoint(), *linear->weight, x, options_.threads);
      const RowProducts b = row_products(output_.checkpoint(), *twin(*linear).weight, x_out, options_.threads);
      double error = linear->role == Role::attn_v ? 0 : reader_error(a, b);  // the value is checked with the output
      failed += error > kBoundFactor;
      if (error > kBoundFactor) {
        const RowProducts c = row_products(output_.checkpoint(), *twin(*linear).weight, x_output_, options_.threads);
        failed_without_norm += reader_error(a, c) > kBoundFactor;
      }
      if (linear->role != Role::attn_v)
        add("reader", {weight(*linear)}, linear->role, error * u(), kBoundFactor * u(),
            fmt::format("its product with the stream changed: not rotated, rotated twice, or {} not folded into it",
                        reads.norm->name));
    }
    if (failed > 0 && failed_without_norm == 0) report_.checks.resize(first);
    if (reads.norm->weight)
      add("norm", {weight(*reads.norm)}, Role::stream_norm, failed > 0 && failed_without_norm == 0 ? 1 : 0, 0.5,
          "its readers have taken over the scale, but it still scales: it must be neutral");
  }

  // ---- value and output

  // a (heads * d): the value heads as the output projection sees them, with a random weight per query head.
  static std::vector<double> mix(const std::vector<double>& v, const std::vector<double>& weights, size_t d) {
    const size_t group = weights.size() * d / v.size();
    std::vector<double> a(weights.size() * d);
    for (size_t head = 0; head < weights.size(); ++head)
      for (size_t i = 0; i < d; ++i) a[head * d + i] = weights[head] * v[head / group * d + i];
    return a;
  }

  const Module& norm_before(const Module& linear) const {
    for (const NormReads& reads : source_.stream().norm_reads)
      if (std::find(reads.linears.begin(), reads.linears.end(), &linear) != reads.linears.end()) return *reads.norm;
    throw Error(linear.name, "has no norm before it");
  }

  // What the value heads put into the stream, (k, hidden), and how much larger than that the terms are that it is a sum
  // of: about 1 for an orthogonal R2, more for a badly conditioned one, whose rounding errors grow with it.
  struct Through {
    Matrix<double> y;
    double cancellation;
  };

  // v: values (k, kv heads * d). They are mixed over the heads and sent through the output projection.
  Through through(const Model& model, const Module& output, const RowProducts& v,
                  const std::vector<double>& heads) const {
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
        a(k + p, j) = std::hypot(a(p, j), terms[static_cast<size_t>(j)]);
      }
    }
    const RowProducts products = row_products(model.checkpoint(), *output.weight, a, options_.threads);
    Through result{{k, products.y.cols}, 1};
    double square = 0, terms = 0;
    for (int64_t p = 0; p < k; ++p)
      for (int64_t i = 0; i < products.y.cols; ++i) {
        const double y = result.y(p, i) = products.y(p, i);
        square += y * y;
        terms += products.energy(k + p, i);
      }
    if (square > 0) result.cancellation = std::max(1.0, std::sqrt(terms / square));
    return result;
  }

  RowProducts weight_values(const Model& model, const Module& value, const Module& norm, const Matrix<double>& x) {
    return row_products(model.checkpoint(), *value.weight, scaled(x, model, norm), options_.threads);
  }

  static RowProducts bias_values(const Model& model, const Module& value) {
    RowProducts b{{1, value.bias->info.elements()}, {1, value.bias->info.elements()}};
    b.y.data = values(model.checkpoint(), *value.bias);
    for (size_t i = 0; i < b.y.data.size(); ++i) b.energy.data[i] = b.y.data[i] * b.y.data[i];
    return b;
  }

  void probe_value_output(const ValueOutput& pair) {
    const Module &value = *pair.value, &output = *pair.output;
    const Module& norm = norm_before(value);
    std::vector<double> heads(static_cast<size_t>(output.shape.in / pair.head_dim));
    for (double& weight : heads) weight = 2 * random_.uniform_double() - 1;
    compare_in_stream(value, {weight(value), weight(output)},
                      through(source_, output, weight_values(source_, value, norm, x_), heads),
                      through(output_, twin(output), weight_values(output_, twin(value), twin(norm), x_output_), heads),
                      "the values no longer fit the output projection: one of the two not rotated, rotated twice, or "
                      "its heads out of order");
    if (value.bias)
      compare_in_stream(value, {bias(value)}, through(source_, output, bias_values(source_, value), heads),
                        through(output_, twin(output), bias_values(output_, twin(value)), heads),
                        "the bias of the values was not rotated with their weight");
  }

  // Four bounds: two weights were rounded on the way, and arithmetic in float32 rounds about twice as often as it
  // stores.
  void compare_in_stream(const Module& module, std::vector<std::string> tensors, const Through& a, const Through& b,
                         std::string hint) {
    double worst = 0;
    for (int64_t p = 0; p < a.y.rows; ++p) {
      const StreamVector y{row(a.y, p), row(b.y, p)};
      worst = std::max(worst, gram_error(y, y, u()));
      for (const StreamVector& other : frame_) worst = std::max(worst, gram_error(y, other, u()));
    }
    add("value-output", std::move(tensors), module.role, worst * u(),
        4 * kBoundFactor * u() * std::max(a.cancellation, b.cancellation), std::move(hint));
  }

  // ---- what a rotation leaves alone

  void probe_unchanged(const Module& module) {
    const bool reader = module.role == Role::attn_q || module.role == Role::attn_k || module.role == Role::mlp_in ||
                        module.role == Role::head;
    if (reader && module.bias) compare(module, bias(module), *module.bias, *twin(module).bias);
    if (module.role == Role::qk_norm) compare(module, weight(module), *module.weight, *twin(module).weight);
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
  Random random_;
  ProbeReport report_;
  std::vector<Written> written_;              // who wrote stream_[i]
  std::vector<StreamVector> stream_, frame_;  // all; those that agree
  Matrix<double> x_, x_output_;               // (kProbes, hidden)
};

}  // namespace

double unit_roundoff(const Checkpoint& output) {
  double largest = 0x1p-48;
  for (const CheckpointTensor& tensor : output.tensors()) {
    if (tensor.info.dtype == DType::BF16) largest = std::max(largest, 0x1p-9);
    if (tensor.info.dtype == DType::F16) largest = std::max(largest, 0x1p-11);
    if (tensor.info.dtype == DType::F32) largest = std::max(largest, 0x1p-24);
  }
  return largest;
}

bool ProbeReport::passed() const {
  return std::all_of(checks.begin(), checks.end(), [](const ProbeCheck& check) { return check.passed(); });
}

std::vector<const ProbeCheck*> ProbeReport::failures() const {
  std::vector<const ProbeCheck*> result;
  for (const ProbeCheck& check : checks)
    if (!check.passed()) result.push_back(&check);
  return result;
}

ProbeReport probe(const Model& source, const Model& output, const ProbeOptions& options) {
  return Prober(source, output, options).run();
}

}  // namespace spinor
