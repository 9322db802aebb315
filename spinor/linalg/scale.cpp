// Kernels: the middle part is compiled once per CPU level.
#include "spinor/linalg/scale.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/scale.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <type_traits>

#include "spinor/linalg/cpu.h"

HWY_BEFORE_NAMESPACE();
namespace spinor::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T, typename S>
void scale_all(T* x, const S* by, int64_t n) {
  const hn::ScalableTag<T> d;
  const hn::Rebind<S, decltype(d)> ds;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::Vec<decltype(d)> factor;
    if constexpr (std::is_same_v<S, T>) {
      factor = hn::LoadU(d, by + i);
    } else {
      factor = hn::PromoteTo(d, hn::LoadU(ds, by + i));
    }
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factor), d, x + i);
  }
  for (; i < n; ++i) x[i] *= static_cast<T>(by[i]);
}

template <typename T>
void negate_all(T* x, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Neg(hn::LoadU(d, x + i)), d, x + i);
  for (; i < n; ++i) x[i] = -x[i];
}

void scale_f32(float* x, const float* by, int64_t n) {
  scale_all(x, by, n);
}
void scale_f64(double* x, const double* by, int64_t n) {
  scale_all(x, by, n);
}
void scale_f64_by_f32(double* x, const float* by, int64_t n) {
  scale_all(x, by, n);
}
void negate_f32(float* x, int64_t n) {
  negate_all(x, n);
}
void negate_f64(double* x, int64_t n) {
  negate_all(x, n);
}

}  // namespace
}  // namespace spinor::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {
HWY_EXPORT(scale_f32);
HWY_EXPORT(scale_f64);
HWY_EXPORT(scale_f64_by_f32);
HWY_EXPORT(negate_f32);
HWY_EXPORT(negate_f64);
}  // namespace

// cpu_level() settles which level the dispatch takes.
void scale(float* x, const float* by, int64_t n) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(scale_f32)(x, by, n);
}
void scale(double* x, const double* by, int64_t n) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(scale_f64)(x, by, n);
}
void scale(double* x, const float* by, int64_t n) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(scale_f64_by_f32)(x, by, n);
}
void negate(float* x, int64_t n) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(negate_f32)(x, n);
}
void negate(double* x, int64_t n) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(negate_f64)(x, n);
}

}  // namespace spinor
#endif  // HWY_ONCE
