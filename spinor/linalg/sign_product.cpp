// A kernel: the middle part is compiled once per CPU level. Two 512-bit loads a cycle are what bounds it.
#include "spinor/linalg/sign_product.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/sign_product.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>

#include "spinor/linalg/cpu.h"

#ifndef SPINOR_SIGN_PRODUCT_LAYOUT
#define SPINOR_SIGN_PRODUCT_LAYOUT
namespace spinor {
namespace {
constexpr int64_t kGroup = 4, kEntries = 1 << kGroup;
constexpr int64_t kBlock = 4;         // outputs summed together; their entries lie side by side
constexpr int64_t kChunkGroups = 16;  // 32 KiB of tables: they stay in the L1 cache
}  // namespace
}  // namespace spinor
#endif

HWY_BEFORE_NAMESPACE();
namespace spinor::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
constexpr int64_t kLanes = SignProduct::kLanes<T>;
// Two vectors make a strip: outputs are summed one strip at a time.
template <typename T>
using Tag = hn::CappedTag<T, kLanes<T> / 2>;

// table[e] = +-x0 +-x1 +-x2 +-x3 with the signs of e's bits, bit 0 for x0.
template <typename T>
void tabulate(const T* x, int64_t stride, T* table) {
  const Tag<T> d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t lane = 0; lane < kLanes<T>; lane += n) {
    const auto x0 = hn::LoadU(d, x + lane), x1 = hn::LoadU(d, x + stride + lane);
    const auto x2 = hn::LoadU(d, x + 2 * stride + lane), x3 = hn::LoadU(d, x + 3 * stride + lane);
    const auto sum01 = hn::Add(x0, x1), difference01 = hn::Sub(x0, x1);
    const auto sum23 = hn::Add(x2, x3), difference23 = hn::Sub(x2, x3);
    T* at = table + lane;
    const auto put = [&](int e, auto value) {
      hn::Store(value, d, at + e * kLanes<T>);
      hn::Store(hn::Neg(value), d, at + (kEntries - 1 - e) * kLanes<T>);
    };
    put(15, hn::Add(sum01, sum23));
    put(14, hn::Sub(sum23, difference01));
    put(13, hn::Add(difference01, sum23));
    put(12, hn::Sub(sum23, sum01));
    put(11, hn::Sub(sum01, difference23));
    put(10, hn::Sub(hn::Neg(difference01), difference23));
    put(9, hn::Sub(difference01, difference23));
    put(8, hn::Sub(hn::Neg(sum01), difference23));
  }
}

// Where the sums of a chunk begin and where they go.
template <typename T>
struct Sums {
  const T* from;  // null: from zero
  T* to;
  int64_t to_stride;
  T scale;
};

// One block of outputs, one strip: adds `groups` table entries to each.
template <typename T>
void accumulate(const T* table, const uint16_t* entries, int64_t groups, const Sums<T>& sums) {
  const Tag<T> d;
  using V = hn::Vec<Tag<T>>;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto* bytes = reinterpret_cast<const uint8_t*>(table);
  V a[kBlock], b[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    a[i] = sums.from ? hn::LoadU(d, sums.from + i * kLanes<T>) : hn::Zero(d);
    b[i] = sums.from ? hn::LoadU(d, sums.from + i * kLanes<T> + n) : hn::Zero(d);
  }
  for (int64_t g = 0; g < groups; ++g, entries += kBlock) {
    for (int i = 0; i < kBlock; ++i) {
      const T* entry = reinterpret_cast<const T*>(bytes + entries[i]);
      a[i] = hn::Add(a[i], hn::Load(d, entry));
      b[i] = hn::Add(b[i], hn::Load(d, entry + n));
    }
  }
  const V scale = hn::Set(d, sums.scale);
  for (int i = 0; i < kBlock; ++i) {
    hn::StoreU(hn::Mul(a[i], scale), d, sums.to + i * sums.to_stride);
    hn::StoreU(hn::Mul(b[i], scale), d, sums.to + i * sums.to_stride + n);
  }
}

template <typename T>
void multiply(int64_t order, const uint16_t* entries, const T* x, int64_t x_stride, T* y, int64_t y_stride, T scale,
              T* sums) {
  alignas(SignProduct::kTileBytes) T table[kChunkGroups * kEntries * kLanes<T>];
  const auto strip = 2 * static_cast<int64_t>(hn::Lanes(Tag<T>()));
  for (int64_t k = 0; k < order; k += kChunkGroups * kGroup) {
    const int64_t groups = std::min(kChunkGroups, (order - k) / kGroup);
    for (int64_t g = 0; g < groups; ++g)
      tabulate(x + (k + kGroup * g) * x_stride, x_stride, table + g * kEntries * kLanes<T>);
    const bool first = k == 0, last = k + groups * kGroup == order;
    for (int64_t i = 0; i < order; i += kBlock, entries += kBlock * groups) {
      for (int64_t lane = 0; lane < kLanes<T>; lane += strip) {
        T* so_far = sums + i * kLanes<T> + lane;
        const T* from = first ? nullptr : so_far;
        if (last)
          accumulate(table + lane, entries, groups, Sums<T>{from, y + i * y_stride + lane, y_stride, scale});
        else
          accumulate(table + lane, entries, groups, Sums<T>{from, so_far, kLanes<T>, T(1)});
      }
    }
  }
}

void multiply_float(int64_t order, const uint16_t* entries, const float* x, int64_t x_stride, float* y,
                    int64_t y_stride, float scale, float* sums) {
  multiply(order, entries, x, x_stride, y, y_stride, scale, sums);
}
void multiply_double(int64_t order, const uint16_t* entries, const double* x, int64_t x_stride, double* y,
                     int64_t y_stride, double scale, double* sums) {
  multiply(order, entries, x, x_stride, y, y_stride, scale, sums);
}

}  // namespace
}  // namespace spinor::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
HWY_EXPORT(multiply_float);
HWY_EXPORT(multiply_double);

SignProduct::SignProduct(const SignMatrix& a, bool transposed) : order_(a.order) {
  assert(order_ % kGroup == 0 && order_ % kBlock == 0);
  const auto entry = [&](int64_t i, int64_t group) {
    int64_t bits = 0;
    for (int64_t bit = 0; bit < kGroup; ++bit) {
      const int64_t j = group * kGroup + bit;
      if ((transposed ? a(j, i) : a(i, j)) > 0) bits |= 1 << bit;
    }
    return static_cast<uint16_t>((group % kChunkGroups * kEntries + bits) * kTileBytes);
  };
  entries_.reserve(static_cast<size_t>(order_ * order_ / kGroup));
  for (int64_t chunk = 0; chunk < order_ / kGroup; chunk += kChunkGroups)
    for (int64_t i = 0; i < order_; i += kBlock)
      for (int64_t group = chunk; group < std::min(chunk + kChunkGroups, order_ / kGroup); ++group)
        for (int64_t o = i; o < i + kBlock; ++o) entries_.push_back(entry(o, group));
}

// cpu_level() first: it settles which level the dispatch takes.
template <>
void SignProduct::multiply(const float* x, int64_t x_stride, float* y, int64_t y_stride, float scale,
                           float* sums) const {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(multiply_float)(order_, entries_.data(), x, x_stride, y, y_stride, scale, sums);
}
template <>
void SignProduct::multiply(const double* x, int64_t x_stride, double* y, int64_t y_stride, double scale,
                           double* sums) const {
  cpu_level();
  HWY_DYNAMIC_DISPATCH(multiply_double)(order_, entries_.data(), x, x_stride, y, y_stride, scale, sums);
}

}  // namespace spinor
#endif
