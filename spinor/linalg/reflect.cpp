// Kernels: the middle part is compiled once per CPU level. Compiled with -ffp-contract=off (CMakeLists.txt): a fused
// multiply-add would make the bits depend on the level.
#include "spinor/linalg/reflect.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/reflect.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>

#include "spinor/linalg/cpu.h"

HWY_BEFORE_NAMESPACE();
namespace spinor::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// A dot product is this many sums, of the products at i = 0 ... kSums - 1 mod kSums: four registers of the widest
// level.
template <typename T>
constexpr int64_t kSums = 256 / sizeof(T);
template <typename T>
using Tag = hn::CappedTag<T, kSums<T>>;

template <typename T>
T add_up(T* sums) {
  for (int64_t half = kSums<T> / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

template <typename T>
T dot(const T* x, const T* v, int64_t n) {
  const Tag<T> d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(Tag<T>()));
  constexpr int64_t vectors = kSums<T> / lanes;
  hn::Vec<Tag<T>> sum[vectors];
  for (auto& s : sum) s = hn::Zero(d);
  int64_t i = 0;
  for (; i + kSums<T> <= n; i += kSums<T>)
    for (int64_t k = 0; k < vectors; ++k) {
      const int64_t at = i + k * lanes;
      sum[k] = hn::Add(sum[k], hn::Mul(hn::LoadU(d, x + at), hn::LoadU(d, v + at)));
    }
  HWY_ALIGN T sums[kSums<T>];
  for (int64_t k = 0; k < vectors; ++k) hn::Store(sum[k], d, sums + k * lanes);
  for (T* to = sums; i < n; ++i) *to++ += x[i] * v[i];
  return add_up(sums);
}

// y <- y + a x.
template <typename T>
void add_multiple(T a, const T* x, T* y, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d)), whole = n / lanes * lanes;
  const auto factor = hn::Set(d, a);
  for (int64_t i = 0; i < whole; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::Mul(factor, hn::LoadU(d, x + i))), d, y + i);
  for (int64_t i = whole; i < n; ++i) y[i] += a * x[i];
}

template <typename T>
void rows(MatrixView<T> x, const T* v, T factor) {
  for (int64_t i = 0; i < x.rows; ++i) add_multiple(-factor * dot(x.row(i), v, x.cols), v, x.row(i), x.cols);
}

template <typename T>
void columns(MatrixView<T> x, const T* v, T factor, T* sums) {
  std::fill_n(sums, x.cols, T(0));
  for (int64_t i = 0; i < x.rows; ++i) add_multiple(v[i], x.row(i), sums, x.cols);
  for (int64_t i = 0; i < x.rows; ++i) add_multiple(-factor * v[i], sums, x.row(i), x.cols);
}

void rows_f32(MatrixView<float> x, const float* v, float factor) {
  rows(x, v, factor);
}
void rows_f64(MatrixView<double> x, const double* v, double factor) {
  rows(x, v, factor);
}
void columns_f32(MatrixView<float> x, const float* v, float factor, float* sums) {
  columns(x, v, factor, sums);
}
void columns_f64(MatrixView<double> x, const double* v, double factor, double* sums) {
  columns(x, v, factor, sums);
}

}  // namespace
}  // namespace spinor::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {
HWY_EXPORT(rows_f32);
HWY_EXPORT(rows_f64);
HWY_EXPORT(columns_f32);
HWY_EXPORT(columns_f64);
}  // namespace

// cpu_level() settles which level the dispatch takes.
template <>
void reflect_rows(MatrixView<float> x, const float* v, float factor) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(rows_f32)(x, v, factor);
}
template <>
void reflect_rows(MatrixView<double> x, const double* v, double factor) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(rows_f64)(x, v, factor);
}
template <>
void reflect_columns(MatrixView<float> x, const float* v, float factor, float* sums) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(columns_f32)(x, v, factor, sums);
}
template <>
void reflect_columns(MatrixView<double> x, const double* v, double factor, double* sums) {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(columns_f64)(x, v, factor, sums);
}

}  // namespace spinor
#endif  // HWY_ONCE
