// Kernels: the middle part is compiled once per CPU level.
#include "spinor/linalg/convert.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/convert.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "spinor/base/error.h"
#include "spinor/linalg/cpu.h"

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// A stored format: the type of its bits, and the bits of the exponent, which are all set for infinity and NaN only.
struct F64 {
  using Bits = uint64_t;
  static constexpr Bits kExponent = 0x7ff0000000000000;
};
struct F32 {
  using Bits = uint32_t;
  static constexpr Bits kExponent = 0x7f800000;
};
struct BF16 {
  using Bits = uint16_t;
  static constexpr Bits kExponent = 0x7f80;
  static constexpr int kFraction = 7, kMinExponent = -126, kMaxExponent = 127;
};
struct F16 {
  using Bits = uint16_t;
  static constexpr Bits kExponent = 0x7c00;
  static constexpr int kFraction = 10, kMinExponent = -14, kMaxExponent = 15;
};

// 2^exponent.
template <typename T>
constexpr T power(int exponent) {
  T value = 1;
  for (; exponent > 0; --exponent) value *= 2;
  for (; exponent < 0; ++exponent) value /= 2;
  return value;
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || (HWY_TARGET == HWY_NEON && HWY_ARCH_ARM_A64)
constexpr bool kHasF16 = true;  // instructions from and to F16
#else
constexpr bool kHasF16 = false;
#endif

template <typename T, class D>
using As = hn::Rebind<T, D>;  // as many lanes of another type

// Unaligned; Highway's one-lane target would read through a misaligned pointer.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> read(D d, const std::byte* p) {
  if constexpr (hn::MaxLanes(d) == 1) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return hn::Set(d, value);
  } else {
    return hn::LoadU(d, reinterpret_cast<const T*>(p));
  }
}

template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void write(hn::Vec<D> v, D d, std::byte* p) {
  if constexpr (hn::MaxLanes(d) == 1) {
    const T value = hn::GetLane(v);
    std::memcpy(p, &value, sizeof value);
  } else {
    hn::StoreU(v, d, reinterpret_cast<T*>(p));
  }
}

// To nearest even, infinite when too large; Highway's portable targets saturate instead.
template <class Df>
HWY_INLINE hn::Vec<Df> narrow(Df d, hn::Vec<As<double, Df>> v) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  alignas(16) double from[hn::MaxLanes(d)];
  alignas(16) float to[hn::MaxLanes(d)];
  hn::Store(v, As<double, Df>(), from);
  for (size_t i = 0; i < hn::MaxLanes(d); ++i) to[i] = static_cast<float>(from[i]);
  return hn::Load(d, to);
#else
  return hn::DemoteTo(d, v);
#endif
}

// ---- Stored bits to float or double

template <class Df>
HWY_INLINE hn::Vec<Df> to_float(Df d, F32, hn::Vec<As<uint32_t, Df>> bits) {
  return hn::BitCast(d, bits);
}

template <class Df>
HWY_INLINE hn::Vec<Df> to_float(Df d, BF16, hn::Vec<As<uint16_t, Df>> bits) {
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(As<uint32_t, Df>(), bits)));
}

template <class Df>
HWY_INLINE hn::Vec<Df> to_float(Df d, F16, hn::Vec<As<uint16_t, Df>> bits) {
  if constexpr (kHasF16) {
    return hn::PromoteTo(d, hn::BitCast(As<hwy::float16_t, Df>(), bits));
  } else {
    // The fields, moved to where float has them, make a float too small by 2^(127 - 15), subnormal ones too.
    const As<uint32_t, Df> du;
    const auto wide = hn::PromoteTo(du, bits);
    const auto fields = hn::BitCast(d, hn::ShiftLeft<13>(hn::And(wide, hn::Set(du, 0x7fffu))));
    const auto value = hn::Mul(fields, hn::Set(d, power<float>(112)));
    const auto special = hn::Ge(value, hn::Set(d, power<float>(F16::kMaxExponent + 1)));
    const auto ones = hn::IfThenElseZero(special, hn::BitCast(d, hn::Set(du, F32::kExponent)));
    const auto sign = hn::BitCast(d, hn::ShiftLeft<16>(hn::And(wide, hn::Set(du, 0x8000u))));
    return hn::Or(hn::Or(value, ones), sign);
  }
}

template <class D, class Format>
HWY_INLINE hn::Vec<D> decode(D d, Format format, hn::Vec<As<typename Format::Bits, D>> bits) {
  constexpr bool to_double = std::is_same_v<hn::TFromD<D>, double>;
  if constexpr (std::is_same_v<Format, F64> && to_double) {
    return hn::BitCast(d, bits);
  } else if constexpr (std::is_same_v<Format, F64>) {
    return narrow(d, hn::BitCast(As<double, D>(), bits));
  } else if constexpr (to_double) {
    return hn::PromoteTo(d, to_float(As<float, D>(), format, bits));
  } else {
    return to_float(d, format, bits);
  }
}

// ---- Float or double to stored bits

// v with only the fraction bits that the format has, to nearest even: with M = 2^(exponent of v + dropped bits), |v| +
// M has room for just those. NaN and what is too large for the format stay as they are.
template <class Format, class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> rounded(D d, hn::Vec<D> v) {
  using Own = std::conditional_t<sizeof(T) == 8, F64, F32>;
  constexpr int dropped = (sizeof(T) == 8 ? 52 : 23) - Format::kFraction;
  const auto magnitude = hn::Abs(v);
  const auto exponent = hn::And(v, hn::BitCast(d, hn::Set(hn::RebindToUnsigned<D>(), Own::kExponent)));
  const auto least = hn::Set(d, power<T>(Format::kMinExponent));  // below it the format's spacing no longer shrinks
  const auto m = hn::Mul(hn::Max(exponent, least), hn::Set(d, power<T>(dropped)));
  const auto near = hn::CopySign(hn::Sub(hn::Add(magnitude, m), m), v);
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, power<T>(Format::kMaxExponent) * 2)), near, v);
}

// The same for float to BF16, in integers: M would overflow.
template <class Df>
HWY_INLINE hn::Vec<Df> rounded_to_bf16(Df d, hn::Vec<Df> v) {
  const hn::RebindToUnsigned<Df> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto near = hn::BitCast(d, hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu))));
  const auto quiet = hn::BitCast(d, hn::Or(bits, hn::Set(du, 0x400000u)));
  return hn::IfThenElse(hn::Eq(v, v), near, quiet);
}

// These take floats that the format can represent, larger ones (they become infinite) and NaN.
template <class Df>
HWY_INLINE hn::Vec<As<uint16_t, Df>> from_float(Df, BF16, hn::Vec<Df> v) {
  const auto bits = hn::ShiftRight<16>(hn::BitCast(As<uint32_t, Df>(), v));
  return hn::DemoteTo(As<uint16_t, Df>(), hn::BitCast(As<int32_t, Df>(), bits));
}

template <class Df>
HWY_INLINE hn::Vec<As<uint16_t, Df>> from_float(Df d, F16, hn::Vec<Df> v) {
  if constexpr (kHasF16) {
    return hn::BitCast(As<uint16_t, Df>(), hn::DemoteTo(As<hwy::float16_t, Df>(), v));
  } else {
    // The way of to_float back.
    const As<uint32_t, Df> du;
    const auto magnitude = hn::Abs(v);
    const auto fields = hn::ShiftRight<13>(hn::BitCast(du, hn::Mul(magnitude, hn::Set(d, power<float>(-112)))));
    const auto infinity = hn::Set(du, uint32_t{F16::kExponent});
    const auto finite = hn::Lt(magnitude, hn::Set(d, power<float>(F16::kMaxExponent) * 2));
    const auto quiet = hn::IfThenElse(hn::RebindMask(du, hn::Eq(v, v)), infinity, hn::Set(du, 0x7e00u));
    const auto sign = hn::And(hn::ShiftRight<16>(hn::BitCast(du, v)), hn::Set(du, 0x8000u));
    const auto bits = hn::Or(sign, hn::IfThenElse(hn::RebindMask(du, finite), fields, quiet));
    return hn::DemoteTo(As<uint16_t, Df>(), hn::BitCast(As<int32_t, Df>(), bits));
  }
}

template <class D, class Format>
HWY_INLINE hn::Vec<As<typename Format::Bits, D>> encode(D d, Format format, hn::Vec<D> v) {
  constexpr bool is_double = std::is_same_v<hn::TFromD<D>, double>;
  const As<typename Format::Bits, D> bits;
  const As<float, D> df;
  if constexpr (sizeof(typename Format::Bits) == sizeof(hn::TFromD<D>)) {
    return hn::BitCast(bits, v);
  } else if constexpr (std::is_same_v<Format, F64>) {
    return hn::BitCast(bits, hn::PromoteTo(As<double, D>(), v));
  } else if constexpr (std::is_same_v<Format, F32>) {
    return hn::BitCast(bits, narrow(df, v));
  } else if constexpr (is_double) {
    return from_float(df, format, narrow(df, rounded<Format>(d, v)));
  } else if constexpr (std::is_same_v<Format, BF16>) {
    return from_float(d, format, rounded_to_bf16(d, v));
  } else {
    return from_float(d, format, kHasF16 ? v : rounded<Format>(d, v));
  }
}

// ---- Whole arrays. The last part of a vector goes through a padded one.

// As many lanes as fit a register of the wider of the two types.
template <typename T, class Format>
using Tag = hn::CappedTag<
    T, hn::MaxLanes(hn::ScalableTag<std::conditional_t<(sizeof(T) < sizeof(typename Format::Bits)), double, T>>())>;

template <class Format, typename T>
void load_all(const std::byte* src, T* dst, int64_t n) {
  const Tag<T, Format> d;
  using Bits = typename Format::Bits;
  const As<Bits, decltype(d)> db;
  constexpr int64_t lanes = hn::MaxLanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(decode(d, Format(), read(db, src + i * sizeof(Bits))), d, dst + i);
  if (i == n) return;
  alignas(64) std::byte from[lanes * sizeof(Bits)] = {};
  alignas(64) T to[lanes];
  std::memcpy(from, src + i * sizeof(Bits), static_cast<size_t>(n - i) * sizeof(Bits));
  hn::Store(decode(d, Format(), read(db, from)), d, to);
  std::copy_n(to, n - i, dst + i);
}

template <class Format, typename T>
bool store_all(const T* src, std::byte* dst, int64_t n) {
  const Tag<T, Format> d;
  using Bits = typename Format::Bits;
  const As<Bits, decltype(d)> db;
  constexpr int64_t lanes = hn::MaxLanes(d);
  const auto exponent = hn::Set(db, Format::kExponent);
  auto bad = hn::Zero(db);  // all ones in a lane that was not finite
  const auto store_one = [&](const T* from, std::byte* to) HWY_ATTR {
    const auto bits = encode(d, Format(), hn::LoadU(d, from));
    bad = hn::Or(bad, hn::VecFromMask(db, hn::Eq(hn::And(bits, exponent), exponent)));
    write(bits, db, to);
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_one(src + i, dst + i * sizeof(Bits));
  if (i < n) {
    alignas(64) T from[lanes] = {};
    alignas(64) std::byte to[lanes * sizeof(Bits)];
    std::copy_n(src + i, n - i, from);
    store_one(from, to);
    std::memcpy(dst + i * sizeof(Bits), to, static_cast<size_t>(n - i) * sizeof(Bits));
  }
  return hn::AllTrue(db, hn::Eq(bad, hn::Zero(db)));
}

// Doubles to BF16 by way of floats. That rounds twice, which shows only where the float lies halfway between two BF16
// values: vectors with such a float, or with one that becomes infinite or NaN, go the exact way.
bool store_bf16(const double* src, std::byte* dst, int64_t n) {
  bool finite = true;
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  const hn::ScalableTag<float> d;
  const hn::Half<decltype(d)> dh;
  const As<double, decltype(dh)> dd;
  const hn::RebindToSigned<decltype(d)> di;
  constexpr int64_t half = hn::MaxLanes(dd);
  for (; i + 2 * half <= n; i += 2 * half) {
    const auto low = hn::DemoteTo(dh, hn::LoadU(dd, src + i)), high = hn::DemoteTo(dh, hn::LoadU(dd, src + i + half));
    const auto v = hn::Combine(d, high, low);
    const auto bits = hn::BitCast(di, v);
    const auto halfway = hn::Eq(hn::ShiftLeft<16>(bits), hn::Set(di, INT32_MIN));
    const auto large = hn::Gt(hn::And(bits, hn::Set(di, INT32_MAX)), hn::Set(di, 0x7f7f7fff));
    if (HWY_UNLIKELY(!hn::AllFalse(di, hn::Or(halfway, large)))) {
      finite &= store_all<BF16>(src + i, dst + i * 2, 2 * half);
    } else {
      const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 1));
      const auto near = hn::BitCast(d, hn::Add(bits, hn::Add(odd, hn::Set(di, 0x7fff))));
      write(from_float(d, BF16(), near), As<uint16_t, decltype(d)>(), dst + i * 2);
    }
  }
#endif
  return store_all<BF16>(src + i, dst + i * 2, n - i) && finite;
}

// dtype is one of the four.
template <typename T>
void load_any(DType dtype, const std::byte* src, T* dst, int64_t n) {
  if (dtype == DType::F64) return load_all<F64>(src, dst, n);
  if (dtype == DType::F32) return load_all<F32>(src, dst, n);
  if (dtype == DType::F16) return load_all<F16>(src, dst, n);
  load_all<BF16>(src, dst, n);
}

template <typename T>
bool store_any(DType dtype, const T* src, std::byte* dst, int64_t n) {
  if (dtype == DType::F64) return store_all<F64>(src, dst, n);
  if (dtype == DType::F32) return store_all<F32>(src, dst, n);
  if (dtype == DType::F16) return store_all<F16>(src, dst, n);
  if constexpr (std::is_same_v<T, double>) return store_bf16(src, dst, n);
  return store_all<BF16>(src, dst, n);
}

void load_f32(DType dtype, const std::byte* src, float* dst, int64_t n) {
  load_any(dtype, src, dst, n);
}
void load_f64(DType dtype, const std::byte* src, double* dst, int64_t n) {
  load_any(dtype, src, dst, n);
}
bool store_f32(DType dtype, const float* src, std::byte* dst, int64_t n) {
  return store_any(dtype, src, dst, n);
}
bool store_f64(DType dtype, const double* src, std::byte* dst, int64_t n) {
  return store_any(dtype, src, dst, n);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {

HWY_EXPORT(load_f32);
HWY_EXPORT(load_f64);
HWY_EXPORT(store_f32);
HWY_EXPORT(store_f64);

// cpu_level() settles which level the dispatch takes.
void prepare(DType dtype) {
  if (!info(dtype).editable)
    throw Error(std::string(info(dtype).name), "not a type to compute with", "F64, F32, F16 and BF16 are");
  cpu_level();
}

}  // namespace

template <>
void load(DType dtype, const std::byte* src, float* dst, int64_t n) {
  prepare(dtype);
  HWY_DYNAMIC_DISPATCH(load_f32)(dtype, src, dst, n);
}

template <>
void load(DType dtype, const std::byte* src, double* dst, int64_t n) {
  prepare(dtype);
  HWY_DYNAMIC_DISPATCH(load_f64)(dtype, src, dst, n);
}

template <>
bool store(DType dtype, const float* src, std::byte* dst, int64_t n) {
  prepare(dtype);
  return HWY_DYNAMIC_DISPATCH(store_f32)(dtype, src, dst, n);
}

template <>
bool store(DType dtype, const double* src, std::byte* dst, int64_t n) {
  prepare(dtype);
  return HWY_DYNAMIC_DISPATCH(store_f64)(dtype, src, dst, n);
}

}  // namespace spinor
#endif  // HWY_ONCE
