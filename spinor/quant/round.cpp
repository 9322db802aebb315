// Kernels, so longer than most files: the middle part is compiled once per CPU level.
#include "spinor/quant/round.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/quant/round.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "spinor/linalg/cpu.h"
#include "spinor/quant/round-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

static_assert(kLanes <= PowerNorm::kLanes);

// ---- Rows. The last part of a segment goes through a padded vector.

// Calls segment(index, begin, end) for each group of the n elements.
template <class F>
HWY_INLINE void for_each_segment(int64_t n, Segments groups, F segment) {
  int64_t end = std::min(groups.first, n);
  for (int64_t g = 0, begin = 0; begin < n; ++g, begin = end, end = std::min(end + groups.size, n))
    segment(g, begin, end);
}

HWY_INLINE V load_some(const float* x, int64_t n) {
  alignas(64) float padded[kLanes] = {};
  std::copy_n(x, n, padded);
  return hn::Load(d, padded);
}

bool widen_row(const float* x, int64_t n, Segments groups, float* low, float* high) {
  auto largest = hn::Zero(di);  // of the bits of magnitudes: NaN is larger than infinity
  const auto magnitude_bits = hn::Set(di, 0x7fffffff);
  for_each_segment(n, groups, [&](int64_t g, int64_t i, int64_t end) HWY_ATTR {
    auto least = hn::Set(d, low[g]), most = hn::Set(d, high[g]);
    const auto take = [&](V v) HWY_ATTR {
      least = hn::Min(least, v);
      most = hn::Max(most, v);
      largest = hn::Max(largest, hn::And(hn::BitCast(di, v), magnitude_bits));
    };
    for (; i + kLanes <= end; i += kLanes) take(hn::LoadU(d, x + i));
    if (i < end) {
      const int64_t some = end - i;
      alignas(64) float padded[kLanes];
      std::fill_n(padded, kLanes, x[i]);
      std::copy_n(x + i, some, padded);
      take(hn::Load(d, padded));
    }
    low[g] = hn::GetLane(hn::MinOfLanes(d, least));
    high[g] = hn::GetLane(hn::MaxOfLanes(d, most));
  });
  return hn::AllTrue(di, hn::Lt(largest, hn::Set(di, 0x7f800000)));
}

template <DType kDType>
void round_all(const float* x, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(as<kDType>(hn::LoadU(d, x + i)), d, to + i);
  if (i == n) return;
  alignas(64) float some[kLanes];
  hn::Store(as<kDType>(load_some(x + i, n - i)), d, some);
  std::copy_n(some, n - i, to + i);
}

template <CodeType kType, DType kDType>
void quantize_all(const Numbers& numbers, const float* x, int64_t n, Segments groups, const Affine* affine,
                  uint8_t* codes) {
  const Limits limits(numbers);
  for_each_segment(n, groups, [&](int64_t g, int64_t i, int64_t end) HWY_ATTR {
    const auto scale = hn::Set(d, affine[g].scale), zero = hn::Set(d, affine[g].zero);
    const auto code = [&](V v) HWY_ATTR {
      return hn::DemoteTo(db, to_code<kType>(nearest<kType, kDType>(v, scale, zero, limits), numbers.bias));
    };
    for (; i + kLanes <= end; i += kLanes) hn::StoreU(code(hn::LoadU(d, x + i)), db, codes + i);
    if (i < end) {
      alignas(64) uint8_t some[kLanes];
      hn::Store(code(load_some(x + i, end - i)), db, some);
      std::copy_n(some, end - i, codes + i);
    }
  });
}

template <CodeType kType>
bool dequantize_all(const Numbers& numbers, const uint8_t* codes, int64_t n, Segments groups, const Affine* affine,
                    float* x) {
  const Limits limits(numbers);
  auto bad = hn::Zero(d);  // all ones in a lane that was no code
  for_each_segment(n, groups, [&](int64_t g, int64_t i, int64_t end) HWY_ATTR {
    const auto scale = hn::Set(d, affine[g].scale), zero = hn::Set(d, affine[g].zero);
    const auto value = [&](const uint8_t* from) HWY_ATTR {
      const auto number = from_code<kType>(hn::PromoteTo(di, hn::LoadU(db, from)), numbers.bias);
      const auto outside = hn::Or(hn::Lt(number, limits.low), hn::Gt(number, limits.high));
      bad = hn::Or(bad, hn::VecFromMask(d, outside));
      return hn::Mul(hn::Sub(number, zero), scale);
    };
    for (; i + kLanes <= end; i += kLanes) hn::StoreU(value(codes + i), d, x + i);
    if (i < end) {
      alignas(64) uint8_t from[kLanes];
      std::fill_n(from, kLanes, codes[i]);
      std::copy_n(codes + i, end - i, from);
      alignas(64) float some[kLanes];
      hn::Store(value(from), d, some);
      std::copy_n(some, end - i, x + i);
    }
  });
  return hn::AllTrue(di, hn::Eq(hn::BitCast(di, bad), hn::Zero(di)));
}

// ---- Errors

// Terms come from memory: products take them from there as fast, and registers are too few.
HWY_INLINE V polynomial(const float (&terms)[PowerNorm::kTerms][PowerNorm::kLanes], V t) {
  auto value = hn::Load(d, terms[PowerNorm::kTerms - 1]);
  for (int k = PowerNorm::kTerms - 2; k >= 0; --k) value = hn::MulAdd(value, t, hn::Load(d, terms[k]));
  return value;
}

// v >= 0. With v = m 2^e: m^norm 2^(norm e). Below 2^-126 the result is 0.
HWY_INLINE V power(const PowerNorm& norm, V v) {
  const auto bits = hn::BitCast(di, v);
  const auto e = hn::Sub(hn::ConvertTo(d, hn::ShiftRight<23>(bits)), hn::Set(d, 127.0f));
  const auto m = hn::BitCast(d, hn::Or(hn::And(bits, hn::Set(di, 0x7fffff)), hn::Set(di, 0x3f800000)));
  const auto p = hn::Set(d, norm.norm);
  // Added to 3 * 2^22, a number is rounded to an integer, which then are the low bits.
  const auto large = hn::Set(d, 0x3p22f);
  const auto t = hn::Min(hn::Max(hn::Mul(p, e), hn::Set(d, -127.0f)), hn::Set(d, 128.0f));
  const auto shifted = hn::Add(t, large);
  const auto rest = hn::MulSub(p, e, hn::Sub(shifted, large));
  const auto two = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::BitCast(di, shifted), hn::Set(di, 127))));
  const auto fraction = polynomial(norm.fraction, hn::Sub(m, hn::Set(d, 1.5f)));
  return hn::Mul(hn::Mul(fraction, polynomial(norm.exponent, rest)), two);
}

template <CodeType kType, DType kDType, bool kWeighted>
void add_all_errors(const Numbers& numbers, const PowerNorm& norm, const float* x, int64_t n,
                    std::span<const Affine> candidates, double* errors, const float* importance) {
  constexpr DType error_dtype = kWeighted ? DType::F32 : kDType;
  const Limits limits(numbers);
  for (const Affine& affine : candidates) {
    const auto scale = hn::Set(d, affine.scale), zero = hn::Set(d, affine.zero);
    const auto error = [&](V v) HWY_ATTR {
      const auto number = nearest<kType, kDType>(v, scale, zero, limits);
      const auto back = as<kDType>(hn::Mul(hn::Sub(number, zero), scale));
      return as<error_dtype>(power(norm, hn::Abs(as<error_dtype>(hn::Sub(back, v)))));
    };
    auto sum = hn::Zero(d);
    const auto add = [&](V term, auto load) HWY_ATTR {
      if constexpr (kWeighted) term = hn::Mul(term, load(importance));
      sum = hn::Add(sum, term);
    };
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const auto load = [i](const float* from) HWY_ATTR { return hn::LoadU(d, from + i); };
      add(error(load(x)), load);
    }
    if (i < n) {  // 0 is exact: no error
      const auto load = [i, n](const float* from) HWY_ATTR { return load_some(from + i, n - i); };
      add(error(load(x)), load);
    }
    *errors++ += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
}

void round_any(DType dtype, const float* x, int64_t n, float* to) {
  with_dtype<CodeType::integer>(dtype, [&](auto, auto kind) { round_all<kind>(x, n, to); });
}

void quantize_any(const Numbers& numbers, const float* x, int64_t n, Segments groups, const Affine* affine,
                  uint8_t* codes) {
  with_numbers(numbers,
               [&](auto type, auto dtype) { quantize_all<type, dtype>(numbers, x, n, groups, affine, codes); });
}

bool dequantize_any(const Numbers& numbers, const uint8_t* codes, int64_t n, Segments groups, const Affine* affine,
                    float* x) {
  return with_numbers(numbers,
                      [&](auto type, auto) { return dequantize_all<type>(numbers, codes, n, groups, affine, x); });
}

void add_errors_any(const Numbers& numbers, const PowerNorm& norm, const float* x, int64_t n,
                    std::span<const Affine> candidates, double* errors, const float* importance) {
  with_numbers(numbers, [&](auto type, auto dtype) {
    if (importance) return add_all_errors<type, dtype, true>(numbers, norm, x, n, candidates, errors, importance);
    add_all_errors<type, dtype, false>(numbers, norm, x, n, candidates, errors, importance);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {

HWY_EXPORT(widen_row);
HWY_EXPORT(round_any);
HWY_EXPORT(quantize_any);
HWY_EXPORT(dequantize_any);
HWY_EXPORT(add_errors_any);

// The polynomial through f at the Chebyshev points of [center - radius, center + radius], in t - center, ascending.
template <class F>
void interpolate(F f, double center, double radius, float (&terms)[PowerNorm::kTerms][PowerNorm::kLanes]) {
  constexpr int n = PowerNorm::kTerms;
  double t[n], divided[n], sum[n] = {};
  for (int i = 0; i < n; ++i) {
    t[i] = radius * std::cos(M_PI * (i + 0.5) / n);
    divided[i] = f(center + t[i]);
  }
  for (int step = 1; step < n; ++step)
    for (int i = n - 1; i >= step; --i) divided[i] = (divided[i] - divided[i - 1]) / (t[i] - t[i - step]);
  for (int i = n - 1; i >= 0; --i) {  // Newton's form to powers: sum <- sum * (t - t_i) + divided_i
    for (int k = n - 1; k > 0; --k) sum[k] = sum[k - 1] - t[i] * sum[k];
    sum[0] = divided[i] - t[i] * sum[0];
  }
  for (int k = 0; k < n; ++k) std::ranges::fill(terms[k], static_cast<float>(sum[k]));
}

}  // namespace

float Numbers::lowest() const {
  return type == CodeType::integer ? -static_cast<float>(1 << (bits - 1)) : -highest();
}

float Numbers::highest() const {
  if (type == CodeType::integer) return static_cast<float>((1 << (bits - 1)) - 1);
  return type == CodeType::e4m3 ? 448.0f : 6.0f;
}

PowerNorm::PowerNorm(double p) : norm(static_cast<float>(p)) {
  interpolate([&](double m) { return std::pow(m, static_cast<double>(norm)); }, 1.5, 0.5, fraction);
  interpolate([](double t) { return std::exp2(t); }, 0, 0.5, exponent);
}

// cpu_level() first: it settles which level the dispatch takes.
bool widen(const float* x, int64_t n, Segments groups, float* low, float* high) {
  cpu_level();
  return HWY_DYNAMIC_DISPATCH(widen_row)(x, n, groups, low, high);
}

void round_row(DType dtype, const float* x, int64_t n, float* to) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(round_any)(dtype, x, n, to);
}

void quantize(const Numbers& numbers, const float* x, int64_t n, Segments groups, const Affine* affine,
              uint8_t* codes) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(quantize_any)(numbers, x, n, groups, affine, codes);
}

bool dequantize(const Numbers& numbers, const uint8_t* codes, int64_t n, Segments groups, const Affine* affine,
                float* x) {
  cpu_level();
  return HWY_DYNAMIC_DISPATCH(dequantize_any)(numbers, codes, n, groups, affine, x);
}

void add_errors(const Numbers& numbers, const PowerNorm& norm, const float* x, int64_t n,
                std::span<const Affine> candidates, double* errors, const float* importance) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(add_errors_any)(numbers, norm, x, n, candidates, errors, importance);
}

}  // namespace spinor
#endif  // HWY_ONCE
