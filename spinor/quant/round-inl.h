// Vectors of numbers to codes and back, for kernels: included after foreach_target.h, compiled once per CPU level.
#include <hwy/highway.h>

#include <cmath>
#include <type_traits>

#include "spinor/quant/round.h"

#if defined(SPINOR_QUANT_ROUND_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SPINOR_QUANT_ROUND_INL_H
#undef SPINOR_QUANT_ROUND_INL_H
#else
#define SPINOR_QUANT_ROUND_INL_H
#endif

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using DU = hn::RebindToUnsigned<D>;
using DB = hn::Rebind<uint8_t, D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
constexpr D d;
constexpr DI di;
constexpr DU du;
constexpr DB db;
constexpr int64_t kLanes = hn::MaxLanes(D());

// ---- Rounding in float lanes

// v with `kFraction` bits behind the leading one, fewer below 2^kMinExponent, to nearest even; |v| far below 2^127.
template <int kFraction, int kMinExponent>
HWY_INLINE V rounded(V v) {
  const auto magnitude = hn::Abs(v);
  const auto exponent = hn::And(v, hn::BitCast(d, hn::Set(di, 0x7f800000)));
  const auto least = hn::BitCast(d, hn::Set(di, (kMinExponent + 127) << 23));
  const auto m = hn::Mul(hn::Max(exponent, least), hn::Set(d, static_cast<float>(1 << (23 - kFraction))));
  return hn::CopySign(hn::Sub(hn::Add(magnitude, m), m), v);
}

// v as a result of arithmetic in the dtype.
template <DType kDType>
HWY_INLINE V as(V v) {
  if constexpr (kDType == DType::BF16) {
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto near = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
    return hn::BitCast(d, hn::And(near, hn::Set(du, 0xffff0000u)));
  } else if constexpr (kDType == DType::F16) {
    const auto infinite = hn::CopySign(hn::Set(d, INFINITY), v);
    return hn::IfThenElse(hn::Lt(hn::Abs(v), hn::Set(d, 65520.0f)), rounded<10, -14>(v), infinite);
  } else {
    return v;
  }
}

// ---- Codes. E4M3 and E2M1 by the bits of their fraction and the exponent of their least normal number.

template <CodeType kType>
struct Small;
template <>
struct Small<CodeType::e4m3> {
  static constexpr int kFraction = 3, kMinExponent = -6;
};
template <>
struct Small<CodeType::e2m1> {
  static constexpr int kFraction = 1, kMinExponent = 0;
};

struct Limits {
  V low, high;
  explicit Limits(const Numbers& numbers) : low(hn::Set(d, numbers.lowest())), high(hn::Set(d, numbers.highest())) {}
};

// The number that a code stands for before zero and scale, nearest to x / scale + zero.
template <CodeType kType, DType kDType>
HWY_INLINE V nearest(V x, V scale, V zero, const Limits& limits) {
  const auto scaled = as<kDType>(hn::Div(x, scale));
  const auto v = hn::Min(hn::Max(as<kDType>(hn::Add(scaled, zero)), limits.low), limits.high);
  if constexpr (kType == CodeType::integer) {
    return hn::Round(v);
  } else {
    return rounded<Small<kType>::kFraction, Small<kType>::kMinExponent>(v);
  }
}

// FP4 has one zero for what was 0, and another for what was negative; E4M3 the same, as -0 + 0 is 0.
template <CodeType kType>
HWY_INLINE VI to_code(V number, int bias) {
  if constexpr (kType == CodeType::integer) {
    return hn::And(hn::Add(hn::ConvertTo(di, number), hn::Set(di, bias)), hn::Set(di, 255));
  } else {
    using S = Small<kType>;
    constexpr int sign_bit = kType == CodeType::e4m3 ? 7 : 3;
    constexpr int first_normal = (S::kMinExponent + 126) << S::kFraction;  // float's fields less this are the code
    const auto magnitude = hn::Abs(number);
    const auto bits = hn::BitCast(di, magnitude);
    const auto normal = hn::Sub(hn::ShiftRight<23 - S::kFraction>(bits), hn::Set(di, first_normal));
    const float per_spacing = static_cast<float>(1 << (S::kFraction - S::kMinExponent));
    const auto subnormal = hn::ConvertTo(di, hn::Mul(magnitude, hn::Set(d, per_spacing)));
    const auto is_normal = hn::Gt(bits, hn::Set(di, ((S::kMinExponent + 127) << 23) - 1));
    const auto sign = hn::ShiftLeft<sign_bit>(hn::BitCast(di, hn::ShiftRight<31>(hn::BitCast(du, number))));
    return hn::Or(hn::IfThenElse(is_normal, normal, subnormal), sign);
  }
}

template <CodeType kType>
HWY_INLINE V from_code(VI code, int bias) {
  if constexpr (kType == CodeType::integer) {
    // The byte again as a number between -128 and 127.
    const auto byte = hn::And(hn::Sub(code, hn::Set(di, bias - 128)), hn::Set(di, 255));
    return hn::ConvertTo(d, hn::Sub(byte, hn::Set(di, 128)));
  } else {
    using S = Small<kType>;
    constexpr int sign_bit = kType == CodeType::e4m3 ? 7 : 3;
    const auto magnitude = hn::And(code, hn::Set(di, (1 << sign_bit) - 1));
    const auto fields = hn::ShiftLeft<23 - S::kFraction>(magnitude);
    const auto normal = hn::BitCast(d, hn::Add(fields, hn::Set(di, (S::kMinExponent + 126) << 23)));
    const float spacing = 1.0f / static_cast<float>(1 << (S::kFraction - S::kMinExponent));
    const auto subnormal = hn::Mul(hn::ConvertTo(d, magnitude), hn::Set(d, spacing));
    const auto is_normal = hn::Gt(magnitude, hn::Set(di, (1 << S::kFraction) - 1));
    const auto value = hn::IfThenElse(hn::RebindMask(d, is_normal), normal, subnormal);
    const auto sign = hn::ShiftLeft<31 - sign_bit>(hn::And(code, hn::Set(di, 1 << sign_bit)));
    return hn::Or(value, hn::BitCast(d, sign));
  }
}

// ---- From values to template arguments

template <CodeType kType, class F>
HWY_INLINE auto with_dtype(DType dtype, F f) {
  using Type = std::integral_constant<CodeType, kType>;
  if (dtype == DType::BF16) return f(Type(), std::integral_constant<DType, DType::BF16>());
  if (dtype == DType::F16) return f(Type(), std::integral_constant<DType, DType::F16>());
  return f(Type(), std::integral_constant<DType, DType::F32>());
}

template <class F>
HWY_INLINE auto with_numbers(const Numbers& numbers, F f) {
  if (numbers.type == CodeType::e4m3) return with_dtype<CodeType::e4m3>(numbers.arithmetic, f);
  if (numbers.type == CodeType::e2m1) return with_dtype<CodeType::e2m1>(numbers.arithmetic, f);
  return with_dtype<CodeType::integer>(numbers.arithmetic, f);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#endif
