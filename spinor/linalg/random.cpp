// Compiled with -ffp-contract=off (CMakeLists.txt): a fused multiply-add would change the bits of normal().
#include "spinor/linalg/random.h"

#include <bit>
#include <cmath>
#include <utility>

namespace spinor {
namespace {

// ln x for normal x > 0, to about 2 ulp: x = m 2^e with sqrt(1/2) <= m < sqrt(2), and
// ln m = 2 atanh(f) = 2 (f + f^3 / 3 + f^5 / 5 + ...), f = (m - 1) / (m + 1), |f| < 0.172: 21 is the last power that
// counts.
double portable_log(double x) {
  constexpr uint64_t kMantissa = (uint64_t{1} << 52) - 1, kOne = uint64_t{1023} << 52;
  const auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int>(bits >> 52) - 1023;
  auto m = std::bit_cast<double>((bits & kMantissa) | kOne);
  if (m > 0x1.6a09e667f3bcdp0) m *= 0.5, ++exponent;
  const double f = (m - 1) / (m + 1), square = f * f;
  double series = 0;
  for (int power = 21; power >= 3; power -= 2) series = (series + 1.0 / power) * square;
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  return exponent * kLn2 + 2 * (f + f * series);
}

}  // namespace

Random::Random(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}

std::vector<int8_t> Random::signs(int64_t n) {
  std::vector<int8_t> q(static_cast<size_t>(n));
  for (int8_t& sign : q) sign = engine_() % 2 ? 1 : -1;
  return q;
}

std::vector<int64_t> Random::permutation(int64_t n) {
  std::vector<int64_t> p(static_cast<size_t>(n));
  for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<int64_t>(i);
  for (size_t i = 0; i + 1 < p.size(); ++i) std::swap(p[i], p[i + engine_() % (p.size() - i)]);
  return p;
}

double Random::uniform_double() {
  const uint64_t high = engine_(), low = engine_();
  return static_cast<double>((high << 32 | low) & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

float Random::uniform_float() {
  return static_cast<float>(engine_() & ((1u << 24) - 1)) * 0x1p-24f;
}

double Random::normal() {
  for (;;) {
    const double u = 2 * uniform_double() - 1, v = 2 * uniform_double() - 1;
    const double s = u * u + v * v;
    if (s < 1 && s > 0) return u * std::sqrt(-2 * portable_log(s) / s);
  }
}

}  // namespace spinor
