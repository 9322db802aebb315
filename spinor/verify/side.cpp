#include "spinor/verify/side.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ranges>
#include <string_view>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/linalg/random.h"
#include "spinor/transform/stored_online.h"
#include "spinor/verify/arithmetic.h"
#include "spinor/verify/stream_frame.h"

namespace spinor::verify {
namespace {

void transform_rows(const Rotation& r, Matrix<double>& x) {
  std::vector<double> scratch;
  r.multiply_right(x.view(), scratch);
}

// Of entries that are stored as float32 or less; what is drawn at random and not orthogonal is off by far more.
constexpr double kRounded = 1e-2;

// A transform that is not orthogonal makes rounding errors larger by as much as it is badly conditioned.
void check_visible(const OnlineTransform& online, const Module& module) {
  const char* const run = "run both models: --text FILE or --random-tokens 64";
  if (is_in_attention(online.location)) return;
  const bool seen = module.kind == ModuleKind::linear ||
                    (module.kind == ModuleKind::embedding && online.location == TransformLocation::output);
  if (!seen)
    throw Error(
        online.module,
        fmt::format("{} acts on its {}, which is in no product of weights", online.group, name_of(online.location)),
        run);
  if (!keeps_products(online.r))
    throw Error(online.module,
                fmt::format("{} is not orthogonal, so that rounding and damage cannot be told apart", online.group),
                run);
}

double sum_of(const Matrix<double>& m, int64_t row) {
  double sum = 0;
  for (int64_t j = 0; j < m.cols; ++j) sum += m(row, j);
  return sum;
}

// A transform mixes the outputs, so it spreads what rounding does to them: each gets the mean.
void spread_energy(RowProducts& products) {
  for (int64_t p = 0; p < products.y.rows; ++p) {
    const double mean = sum_of(products.energy, p) / static_cast<double>(products.energy.cols);
    for (int64_t j = 0; j < products.energy.cols; ++j) products.energy(p, j) = mean;
  }
}

}  // namespace

bool keeps_products(const Rotation& r) {
  if (r.orthogonal()) return true;
  Random random(1);
  Matrix<double> x = random_matrix(random, 4, r.size());
  const Matrix<double> before = x;
  transform_rows(r, x);
  for (int64_t p = 0; p < x.rows; ++p)
    for (int64_t q = 0; q <= p; ++q) {
      const std::vector<double> a = row(before, p), b = row(before, q);
      const double change = dot(row(x, p), row(x, q)) - dot(a, b);
      if (!(std::abs(change) <= kRounded * length(a) * length(b))) return false;
    }
  return true;
}

Side::Side(const Model& model, int threads, std::stop_token stop)
    : model_(model), online_(as_stored(model).take_online()), threads_(threads), stop_(std::move(stop)) {
  for (const OnlineTransform& online : online_) check_visible(online, *model_.find(online.module));
}

// In the order in which they act: the transform of a later group first on an input, last on an output.
std::vector<const Rotation*> Side::at(const Module& module, TransformLocation location) const {
  const Module* whole = module.part ? model_.owner(module.weight->info.name) : &module;
  std::vector<const Rotation*> found;
  for (const OnlineTransform& online : online_)
    if (online.module == whole->name && online.location == location) found.push_back(&online.r);
  if (location == TransformLocation::input) std::ranges::reverse(found);
  return found;
}

void Side::transform_inputs(const Module& module, Matrix<double>& x) const {
  for (const Rotation* r : at(module, TransformLocation::input)) transform_rows(*r, x);
}

void Side::transform_outputs(const Module& module, Matrix<double>& y) const {
  for (const Rotation* r : at(module, TransformLocation::output)) transform_rows(*r, y);
}

RowProducts Side::products(const Module& module, const Matrix<double>& x) const {
  if (stop_.stop_requested()) throw Stopped();
  Matrix<double> in = x;
  transform_inputs(module, in);
  const auto outputs = at(module, TransformLocation::output);
  if (outputs.empty()) return read_products(checkpoint(), module, in, threads_);
  Module whole = module;
  whole.part.reset();
  RowProducts result = read_products(checkpoint(), whole, in, threads_);
  for (const Rotation* r : outputs) transform_rows(*r, result.y);
  spread_energy(result);
  return module.part ? part_of(result, *module.part) : result;
}

Matrix<double> Side::written(const Module& module, Matrix<double> z) const {
  if (stop_.stop_requested()) throw Stopped();
  if (module.kind == ModuleKind::linear) transform_inputs(module, z);
  Matrix<double> y = spinor::written(checkpoint(), module, z, threads_);
  transform_outputs(module, y);
  return y;
}

bool Side::mixes_outputs(const Module& module) const {
  return !at(module, TransformLocation::output).empty();
}

std::vector<double> Side::bias(const Module& module) const {
  Matrix<double> b(1, module.bias->info.elements());
  b.data = values(checkpoint(), *module.bias);
  transform_outputs(module, b);
  return b.data;
}

std::vector<double> Side::bias_sum(const Module& module, const Matrix<double>& z) const {
  Matrix<double> sum = combine_rows(checkpoint(), *module.bias, z, threads_).y;
  transform_outputs(module, sum);
  return sum.data;
}

}  // namespace spinor::verify
