#include "spinor/runtime/rope.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace spinor::runtime {
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

// LongRoPE (arXiv 2402.13753): each wavelength has a factor of its own.
at::Tensor longrope_frequencies(const RopeConfig& rope, int64_t d, int64_t length) {
  const auto& factors = length > rope.original_positions ? rope.long_factors : rope.short_factors;
  return at::reciprocal(at::tensor(factors, at::kDouble).to(at::kFloat) * wavelengths(rope.theta, d));
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
    case RopeType::longrope:
      return longrope_frequencies(rope, d, length);
  }
  return {};
}

// Heads of x, `size` apart; those of one row have one position.
template <typename T>
struct Heads {
  T* x;
  int64_t rows, heads, size, positions;
};

template <typename T, bool interleaved>
void rotate(Heads<T> to, const T* cos, const T* sin, int64_t half) {
  constexpr int64_t kStep = interleaved ? 2 : 1;
  const int64_t apart = interleaved ? 1 : half;
  at::parallel_for(0, to.rows, std::max<int64_t>(1, 16384 / (to.heads * half)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T *c = cos + row % to.positions * half, *s = sin + row % to.positions * half;
      for (int64_t i = 0; i < to.heads; ++i) {
        T* head = to.x + (row * to.heads + i) * to.size;
        for (int64_t j = 0; j < half; ++j) {
          const T a = head[kStep * j], b = head[kStep * j + apart];
          head[kStep * j] = a * c[j] - b * s[j];
          head[kStep * j + apart] = b * c[j] + a * s[j];
        }
      }
    }
  });
}

template <typename T>
void rotate(at::Tensor x, const RopeTable& table, int64_t begin) {
  const Heads<T> to{x.data_ptr<T>() + begin, x.size(0) * x.size(1), x.size(2), x.size(3), x.size(1)};
  const auto run = table.interleaved ? rotate<T, true> : rotate<T, false>;
  run(to, table.cos.data_ptr<T>(), table.sin.data_ptr<T>(), table.cos.size(-1));
}

// The same through torch, for any dtype and device, and for gradients.
void rotate_elsewhere(const at::Tensor& x, const RopeTable& table, int64_t begin) {
  const int64_t half = table.cos.size(-1), end = begin + 2 * half;
  const at::Tensor c = table.cos.unsqueeze(1), s = table.sin.unsqueeze(1);
  const bool by_turns = table.interleaved;
  at::Tensor a = by_turns ? x.slice(-1, begin, end, 2) : x.narrow(-1, begin, half);
  at::Tensor b = by_turns ? x.slice(-1, begin + 1, end, 2) : x.narrow(-1, begin + half, half);
  const at::Tensor real = a * c - b * s, imaginary = b * c + a * s;
  a.copy_(real);
  b.copy_(imaginary);
}

}  // namespace

RopeTable rope_table(const RopeConfig& rope, int64_t first, int64_t count, const at::TensorOptions& options) {
  const at::Tensor positions = at::arange(first, first + count, at::kLong).to(at::kFloat).unsqueeze(1);
  const at::Tensor angles = positions * frequencies(rope, rope.dims, first + count);
  return {(at::cos(angles) * rope.attention).to(options), (at::sin(angles) * rope.attention).to(options),
          rope.interleaved};
}

void apply_rope(at::Tensor x, const RopeTable& table, int64_t begin) {
  if (x.requires_grad()) return rotate_elsewhere(x, table, begin);
  if (x.is_cpu() && x.scalar_type() == at::kFloat) return rotate<float>(x, table, begin);
  if (x.is_cpu() && x.scalar_type() == at::kDouble) return rotate<double>(x, table, begin);
  rotate_elsewhere(x, table, begin);
}

}  // namespace spinor::runtime
