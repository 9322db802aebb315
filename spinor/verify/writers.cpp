#include "spinor/verify/writers.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/verify/arithmetic.h"

namespace spinor::verify {
namespace {

// Who wrote a vector of the stream.
struct Written {
  const Module* module;
  bool bias;

  bool operator==(const Written&) const = default;
};

// All that was written, in both frames, and by whom.
struct Writings {
  std::vector<Written> by = {};
  std::vector<StreamVector> vectors = {};
};

bool reads_too(const Context& context, const Module& writer) {
  const std::vector<const Module*> readers = context.source.model().stream().readers();
  return std::ranges::find(readers, &writer) != readers.end();
}

void add_weight(Context& context, const Module& module, Writings& all) {
  const Matrix<double> z = random_matrix(context.random, kVectors, inputs(module));
  Matrix<double> a = context.source.written(module, z);
  const Matrix<double> b = context.output.written(context.twin(module), z);
  context.mtp.stretch(module, a);
  for (int64_t p = 0; p < kVectors; ++p) {
    all.by.push_back({&module, false});
    all.vectors.push_back({row(a, p), row(b, p)});
  }
}

// Of a stack a random sum.
void add_bias(Context& context, const Module& module, Writings& all) {
  const Matrix<double> z = random_matrix(context.random, 1, module.shape.count);
  const auto sum = [&](const Side& side, const Module& m) {
    return module.shape.count == 1 ? side.bias(m) : side.bias_sum(m, z);
  };
  Matrix<double> a(1, module.shape.out);
  a.data = sum(context.source, module);
  context.mtp.stretch(module, a);
  all.by.push_back({&module, true});
  all.vectors.push_back({a.data, sum(context.output, context.twin(module))});
}

// One check for all that one tensor has written.
void report_writers(Context& context, const Writings& all, const Agreement& agreed) {
  for (size_t i = 0; i < all.vectors.size();) {
    const Written& first = all.by[i];
    double error = 0, change = 0;
    for (; i < all.vectors.size() && all.by[i] == first; ++i) {
      error = std::max(error, agreed.error[i]);
      change = length(all.vectors[i].output) / length(all.vectors[i].source) - 1;
    }
    context.add(
        "writer", {first.bias ? first.module->bias->info.name : weight_name(*first.module)}, first.module->role,
        error * context.u(), kBoundFactor * context.u(),
        fmt::format("its output does not fit the other writers' (length changed by {:.2g} %): not rotated, rotated "
                    "twice, centred, or by a matrix that is not orthogonal",
                    100 * change));
  }
}

}  // namespace

void check_writers(Context& context, const Stream& stream) {
  Writings all;
  for (const Module* module : stream.writers) {
    if (!context.values.contains(module) && !reads_too(context, *module)) add_weight(context, *module, all);
    if (module->bias) add_bias(context, *module, all);
  }
  const Agreement agreed = agreement(all.vectors, context.u(), kBoundFactor);
  report_writers(context, all, agreed);
  context.frame.clear();
  for (size_t i = 0; i < all.vectors.size(); ++i)
    if (agreed.good[i]) context.frame.push_back(all.vectors[i]);
}

}  // namespace spinor::verify
