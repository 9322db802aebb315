#include "spinor/runtime/rope.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace spinor {
namespace {

// theta^(2 i / d) of i = 0 ... d/2 - 1.
at::Tensor wavelengths(double theta, int64_t d) {
  return at::pow(at::Scalar(theta), at::arange(0, d, 2, at::kLong).to(at::kFloat) / static_cast<double>(d));
}

// NTK-aware scaling: the base grows with the length.
double dynamic_theta(const RopeConfig& rope, int64_t d, int64_t length) {
  const auto positions = static_cast<double>(rope.max_positions);
  const double longest = std::max(static_cast<double>(length), positions);
  const auto dim = static_cast<double>(d);
  return rope.theta * std::pow(rope.factor * longest / positions - (rope.factor - 1), dim / (dim - 2));
}

// YaRN (arXiv 2309.00071): the dimension that turns `rotations` times within the original context.
double yarn_dimension(const RopeConfig& rope, int64_t d, double rotations) {
  const auto positions = static_cast<double>(rope.original_positions);
  return static_cast<double>(d) * std::log(positions / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
}

at::Tensor yarn_frequencies(const RopeConfig& rope, int64_t d) {
  double low = yarn_dimension(rope, d, rope.beta_fast), high = yarn_dimension(rope, d, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(d - 1));
  if (low == high) high += 0.001;
  const at::Tensor ramp = ((at::arange(d / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor kept = 1 - ramp, turns = wavelengths(rope.theta, d);
  return at::reciprocal(rope.factor * turns) * (1 - kept) + at::reciprocal(turns) * kept;
}

at::Tensor llama3_frequencies(const RopeConfig& rope, int64_t d) {
  const at::Tensor frequency = at::reciprocal(wavelengths(rope.theta, d));
  const auto positions = static_cast<double>(rope.original_positions);
  const double longest = positions / rope.low_frequency, shortest = positions / rope.high_frequency;
  const at::Tensor wave = 2 * std::numbers::pi / frequency;
  const at::Tensor scaled = at::where(wave > longest, frequency / rope.factor, frequency);
  const at::Tensor smooth = (positions / wave - rope.low_frequency) / (rope.high_frequency - rope.low_frequency);
  const at::Tensor smoothed = (1 - smooth) * scaled / rope.factor + smooth * scaled;
  return at::where(at::logical_or(wave<shortest, wave> longest), scaled, smoothed);
}

at::Tensor frequencies(const RopeConfig& rope, int64_t d, int64_t length) {
  switch (rope.type) {
    case RopeType::plain:
      return at::reciprocal(wavelengths(rope.theta, d));
    case RopeType::linear:
      return at::reciprocal(wavelengths(rope.theta, d)) / rope.factor;
    case RopeType::dynamic:
      return at::reciprocal(wavelengths(dynamic_theta(rope, d, length), d));
    case RopeType::yarn:
      return yarn_frequencies(rope, d);
    case RopeType::llama3:
      return llama3_frequencies(rope, d);
  }
  return {};
}

// x (rows, heads, 2 half): rows begin at position 0 again after `positions` of them.
template <typename T>
void rotate(T* x, int64_t rows, int64_t heads, int64_t half, const T* cos, const T* sin, int64_t positions) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / (heads * half)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T *c = cos + row % positions * half, *s = sin + row % positions * half;
      for (T* head = x + row * heads * 2 * half; head < x + (row + 1) * heads * 2 * half; head += 2 * half)
        for (int64_t i = 0; i < half; ++i) {
          const T a = head[i], b = head[half + i];
          head[i] = a * c[i] - b * s[i];
          head[half + i] = b * c[i] + a * s[i];
        }
    }
  });
}

// The same through torch, for any dtype and device.
void rotate(at::Tensor x, const RopeTable& table) {
  const int64_t half = table.cos.size(-1);
  const at::Tensor c = table.cos.unsqueeze(1), s = table.sin.unsqueeze(1);
  const at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  x.copy_(at::cat({a * c - b * s, b * c + a * s}, -1));
}

}  // namespace

RopeTable rope_table(const RopeConfig& rope, int64_t head_dim, int64_t first, int64_t count,
                     const at::TensorOptions& options) {
  const at::Tensor positions = at::arange(first, first + count, at::kLong).to(at::kFloat).unsqueeze(1);
  const at::Tensor angles = positions * frequencies(rope, head_dim, first + count);
  return {(at::cos(angles) * rope.attention).to(options), (at::sin(angles) * rope.attention).to(options)};
}

void apply_rope(at::Tensor x, const RopeTable& table) {
  const int64_t rows = x.size(0) * x.size(1), half = x.size(3) / 2;
  if (x.is_cpu() && x.scalar_type() == at::kFloat)
    return rotate(x.data_ptr<float>(), rows, x.size(2), half, table.cos.data_ptr<float>(), table.sin.data_ptr<float>(),
                  x.size(1));
  if (x.is_cpu() && x.scalar_type() == at::kDouble)
    return rotate(x.data_ptr<double>(), rows, x.size(2), half, table.cos.data_ptr<double>(),
                  table.sin.data_ptr<double>(), x.size(1));
  rotate(x, table);
}

}  // namespace spinor
