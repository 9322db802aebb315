#include "spinor/plan/norm_bias.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/model/weight_reader.h"

namespace spinor {
namespace {

constexpr int64_t kBlockElements = 1 << 17;

// Eight partial sums: the compiler may use vectors, and the order of additions is the same on every machine.
template <typename T>
double dot(const T* x, const T* y, int64_t n) {
  std::array<double, 8> sums{};
  int64_t j = 0;
  for (; j + 8 <= n; j += 8)
    for (int64_t l = 0; l < 8; ++l)
      sums[static_cast<size_t>(l)] += static_cast<double>(x[j + l]) * static_cast<double>(y[j + l]);
  for (; j < n; ++j) sums[0] += static_cast<double>(x[j]) * static_cast<double>(y[j]);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// Calls visit(first row, rows as doubles) for all rows of a weight.
template <typename Visit>
void for_rows(const Checkpoint& checkpoint, const CheckpointTensor& weight, const Visit& visit) {
  const WeightReader reader(checkpoint, weight);
  const int64_t rows = weight.info.rows(), cols = weight.info.cols(), unit = reader.granularity().rows;
  const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, cols) / unit) * unit;
  std::vector<std::byte> bytes;
  for (int64_t first = 0; first < rows; first += step) {
    const Block block{first, 0, std::min(step, rows - first), cols};
    Matrix<double> x(block.rows, cols);
    reader.read(block, bytes);
    reader.load(block, bytes, block, x.view());
    visit(first, x);
  }
}

// Repeated up to `in` elements, as FoldNorm does.
std::vector<double> norm_vector(const Checkpoint& checkpoint, const std::string& name, const TensorPlan& reader,
                                int64_t in) {
  const CheckpointTensor& norm = checkpoint.at(name);
  const int64_t n = norm.info.elements();
  if (n < 1 || in % n != 0)
    throw Error(reader.name, fmt::format("has {} columns, but {} has {} elements", in, name, n));
  if (!info(norm.info.dtype).editable)
    throw Error(name, fmt::format("cannot be folded: its dtype is {}", info(norm.info.dtype).name));
  std::vector<double> x(static_cast<size_t>(n));
  const std::vector<std::byte> bytes = checkpoint.read(norm);
  load(norm.info.dtype, bytes.data(), x.data(), n);
  if (!std::ranges::all_of(x, [](double v) { return std::isfinite(v); }))
    throw Error(name, "contains NaN or infinity", "the checkpoint is damaged");
  for (int64_t i = n; i < in; ++i) x.push_back(x[static_cast<size_t>(i % n)]);
  return x;
}

// The online transforms of the source, which are folded into the weight first, are not in the product.
void check_not_restored(const RewritePlan& plan, const FoldNormBias& fold) {
  if (const TensorPlan* weight = plan.find(fold.weight); weight && weight->restoring > 0)
    throw Error(fold.weight, fmt::format("has online transforms, so {} cannot be folded through it", fold.norm_bias));
}

// One overload an edit that needs a norm's bias.
struct Vector {
  const RewritePlan& plan;
  const TensorPlan& tensor;
  const Checkpoint& checkpoint = plan.model().checkpoint();

  template <typename Other>
  std::vector<double> operator()(const Other&) const {
    return {};
  }
  std::vector<double> operator()(const FillLevel&) const {
    const TensorInfo& beta = tensor.source->info;
    return {level(norm_vector(checkpoint, beta.name, tensor, beta.elements()))};
  }
  std::vector<double> operator()(const FoldNormBias& fold) const {
    check_not_restored(plan, fold);
    const TensorInfo &bias = tensor.source->info, &weight = checkpoint.at(fold.weight).info;
    const int64_t out = fold.transposed ? weight.cols() : weight.rows();
    if (bias.elements() != out)
      throw Error(tensor.name,
                  fmt::format("has {} elements, but {} has {} outputs", bias.elements(), fold.weight, out));
    const int64_t in = fold.transposed ? weight.rows() : weight.cols();
    return product(checkpoint, fold.weight, fold.transposed, norm_vector(checkpoint, fold.norm_bias, tensor, in));
  }
  std::vector<double> operator()(const FoldNormWithBias& fold) const {
    const TensorInfo& w = tensor.source->info;
    const int64_t in = fold.transposed ? w.rows() : w.cols();
    std::vector<double> g = norm_vector(checkpoint, fold.norm, tensor, in);
    const std::vector<double> beta = norm_vector(checkpoint, fold.norm_bias, tensor, in);
    const double t = level(beta);
    for (double& v : g) v += fold.offset;
    for (size_t j = 0; j < beta.size(); ++j) g.push_back(t > 0 ? beta[j] / t - g[j] : 0);
    return g;
  }
};

}  // namespace

double level(std::span<const double> beta) {
  const double largest =
      std::accumulate(beta.begin(), beta.end(), 0.0, [](double m, double v) { return std::max(m, std::abs(v)); });
  if (largest == 0) return 0;
  double squares = 0;  // of at most 1 each, whatever beta's size
  for (const double v : beta) squares += (v / largest) * (v / largest);
  const double rms = largest * std::sqrt(squares / static_cast<double>(beta.size()));
  // Any level is exact; what F16 has as a normal number is a level in every dtype.
  return std::ldexp(1.0, std::clamp(static_cast<int>(std::lround(std::log2(rms))), -14, 15));
}

std::vector<double> product(const Checkpoint& checkpoint, const std::string& weight, bool transposed,
                            std::span<const double> x) {
  const CheckpointTensor& w = checkpoint.at(weight);
  const int64_t in = transposed ? w.info.rows() : w.info.cols(), out = transposed ? w.info.cols() : w.info.rows();
  if (std::ssize(x) != in)
    throw Error(weight, fmt::format("has {} columns, but the vector has {} elements", in, x.size()));
  std::vector<double> y(static_cast<size_t>(out));
  for_rows(checkpoint, w, [&](int64_t first, const Matrix<double>& rows) {
    for (int64_t i = 0; i < rows.rows; ++i) {
      const auto at = static_cast<size_t>(first + i);
      if (!transposed) y[at] = dot(&rows(i, 0), x.data(), in);
      for (int64_t j = 0; transposed && j < out; ++j) y[static_cast<size_t>(j)] += x[at] * rows(i, j);
    }
  });
  if (!std::ranges::all_of(y, [](double v) { return std::isfinite(v); }))
    throw Error(weight, "contains NaN or infinity", "the checkpoint is damaged");
  return y;
}

std::vector<double> norm_bias_vector(const RewritePlan& plan, const TensorPlan& tensor, const Edit& edit) {
  return std::visit(Vector{plan, tensor}, edit);
}

template <typename T>
void fold_with_level(MatrixView<T> x, const T* g, const T* d, bool transposed) {
  if (!transposed) {
    for (int64_t i = 0; i < x.rows; ++i) {
      const T a = static_cast<T>(dot(x.row(i), d, x.cols) / static_cast<double>(x.cols));
      for (int64_t j = 0; j < x.cols; ++j) x(i, j) = x(i, j) * g[j] + a;
    }
    return;
  }
  std::vector<double> sums(static_cast<size_t>(x.cols));
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) sums[static_cast<size_t>(j)] += static_cast<double>(x(i, j) * d[i]);
  for (double& sum : sums) sum /= static_cast<double>(x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) x(i, j) = x(i, j) * g[i] + static_cast<T>(sums[static_cast<size_t>(j)]);
}

template void fold_with_level(MatrixView<float>, const float*, const float*, bool);
template void fold_with_level(MatrixView<double>, const double*, const double*, bool);

}  // namespace spinor
