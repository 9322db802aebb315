// Kernel: the middle part is compiled once per CPU level. Compiled with -ffp-contract=off (CMakeLists.txt): a fused
// multiply-add would change the bits of a random matrix.
#include "spinor/linalg/orthogonal.h"

#include "spinor/linalg/highway_targets.h"
//
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "spinor/linalg/orthogonal.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <vector>

#include "spinor/base/parallel.h"
#include "spinor/linalg/cpu.h"
#include "spinor/linalg/gemm.h"

#ifndef SPINOR_LINALG_REFLECTIONS
#define SPINOR_LINALG_REFLECTIONS
namespace spinor {
namespace {

constexpr int64_t kSums = 8;  // a dot product is 8 sums, of the products at columns 0 ... 7 mod 8

// H = I - scale v^T v for each v; v is 0 before its column.
struct Reflection {
  const double* v;
  double scale;
  int64_t column;
};

// The order of additions is the same at every level.
double add_up(const double* sums) {
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace
}  // namespace spinor
#endif

HWY_BEFORE_NAMESPACE();
namespace spinor {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<double, kSums>;
using Vector = hn::Vec<Tag>;

constexpr int64_t kLanes = hn::MaxLanes(Tag());
constexpr int64_t kVectors = kSums / kLanes;
constexpr int64_t kRows = kVectors == 1 ? 8 : 4;  // as many chains of additions as registers allow hide their latency

// rows q <- q - factors v, and, as q passes by, factors <- scale q w^T for the next reflection w: one pass through
// memory instead of two.
HWY_ATTR void reflect_and_look_ahead(double* q, int64_t stride, const double* v, const Reflection& next, int64_t end,
                                     std::array<double, kRows>& factors) {
  const Tag d;
  const double* w = next.v;
  Vector factor[kRows], sums[kRows][kVectors];
  for (int64_t i = 0; i < kRows; ++i) {
    factor[i] = hn::Set(d, factors[static_cast<size_t>(i)]);
    for (Vector& sum : sums[i]) sum = hn::Zero(d);
  }
  for (int64_t column = next.column / kSums * kSums; column < end; column += kSums)
    for (int64_t j = 0; j < kVectors; ++j) {
      const int64_t at = column + j * kLanes;
      const Vector vj = hn::Load(d, v + at), wj = hn::Load(d, w + at);
      for (int64_t i = 0; i < kRows; ++i) {
        const Vector x = hn::Sub(hn::Load(d, q + i * stride + at), hn::Mul(factor[i], vj));
        hn::Store(x, d, q + i * stride + at);
        sums[i][j] = hn::Add(sums[i][j], hn::Mul(x, wj));
      }
    }
  for (int64_t i = 0; i < kRows; ++i) {
    HWY_ALIGN double lanes[kSums];
    for (int64_t j = 0; j < kVectors; ++j) hn::Store(sums[i][j], d, lanes + j * kLanes);
    factors[static_cast<size_t>(i)] = next.scale * add_up(lanes);
  }
}

// q (rows, end) <- q times the reflections in their order. q is the rows from `first_row` of a matrix whose row r is
// +-e_r until the reflection of column r; the columns descend.
void reflect_rows(double* q, int64_t rows, int64_t first_row, int64_t stride, int64_t end,
                  const std::vector<Reflection>& reflections) {
  for (int64_t row = 0; row < rows; row += kRows) {
    const auto first =
        std::ranges::find_if(reflections, [&](const Reflection& r) { return r.column < first_row + row + kRows; });
    if (first == reflections.end()) continue;
    std::array<double, kRows> factors{};
    const double* v = first->v;
    for (auto next = first; next != reflections.end(); v = next++->v)
      reflect_and_look_ahead(q + row * stride, stride, v, *next, end, factors);
    reflect_and_look_ahead(q + row * stride, stride, v, reflections.back(), end, factors);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace spinor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spinor {
namespace {

HWY_EXPORT(reflect_rows);

constexpr int64_t kBatch =
    128;  // reflections drawn at a time: their memory, and how often the matrix is passed through
constexpr int64_t kRowBlock = 16;  // rows a thread reflects at a time: within the L2 cache up to n = 8192

int64_t padded(int64_t n) {
  return (n + kSums - 1) / kSums * kSums;
}

double square_norm(const double* v, int64_t begin, int64_t end) {
  std::array<double, kSums> sums{};
  for (int64_t column = begin / kSums * kSums; column < end; column += kSums)
    for (int64_t i = 0; i < kSums; ++i) sums[static_cast<size_t>(i)] += v[column + i] * v[column + i];
  return add_up(sums.data());
}

// Draws x into columns [column, n) of v, all zero, and makes v the reflection that takes x to sign |x| e_column.
// Returns the sign: the one with which v[column] loses no digits.
double draw_reflection(Random& random, int64_t column, int64_t n, double* v, Reflection& reflection) {
  for (int64_t i = column; i < n; ++i) v[i] = random.normal();
  const double norm = std::sqrt(square_norm(v, column, padded(n)));
  const double sign = std::signbit(v[column]) ? 1 : -1;
  v[column] -= sign * norm;
  reflection = {v, 2 / square_norm(v, column, padded(n)), column};
  return sign;
}

// q <- q times the reflections, for the rows from the one of the last reflection's column on; those above are not
// begun.
void reflect(MatrixView<double> q, const std::vector<Reflection>& reflections, int threads) {
  const int64_t first_block = reflections.back().column / kRowBlock, blocks = (q.rows + kRowBlock - 1) / kRowBlock;
  const int64_t end = padded(q.cols), stride = end + kSums;  // rows of a power of two would share their cache sets
  if (threads <= 0) threads = default_threads();
  std::vector<hwy::AlignedFreeUniquePtr<double[]>> scratch(static_cast<size_t>(threads));
  for (auto& rows : scratch) {
    rows = hwy::AllocateAligned<double>(static_cast<size_t>(kRowBlock * stride));
    if (!rows) throw std::bad_alloc();
  }
  parallel_for(blocks - first_block, threads, [&](int64_t item, int thread) {
    const int64_t first = (first_block + item) * kRowBlock, rows = std::min(kRowBlock, q.rows - first);
    double* block = scratch[static_cast<size_t>(thread)].get();
    std::fill_n(block, kRowBlock * stride, 0.0);
    for (int64_t i = 0; i < rows; ++i) std::copy_n(q.row(first + i), q.cols, block + i * stride);
    HWY_DYNAMIC_DISPATCH(reflect_rows)(block, kRowBlock, first, stride, end, reflections);
    for (int64_t i = 0; i < rows; ++i) std::copy_n(block + i * stride, q.cols, q.row(first + i));
  });
}

}  // namespace

// With x_k the normal vector of the columns from k on, and D the signs, Q = D H_{n-2} ... H_1 H_0 is the transpose of
// the orthogonal factor of a normal matrix. Row r is e_r until H_r, so the reflections are drawn in the order the rows
// meet them.
Matrix<double> random_orthogonal(int64_t n, Random& random, int threads) {
  assert(n >= 0);
  cpu_level();
  Matrix<double> q(n, n);
  if (n == 0) return q;
  q(n - 1, n - 1) = std::signbit(random.normal()) ? -1 : 1;
  const int64_t stride = padded(n);
  const auto vectors = hwy::AllocateAligned<double>(static_cast<size_t>(std::min(kBatch, n) * stride));
  if (!vectors) throw std::bad_alloc();
  for (int64_t column = n - 2; column >= 0;) {
    std::vector<Reflection> reflections(static_cast<size_t>(std::min(kBatch, column + 1)));
    std::fill_n(vectors.get(), static_cast<int64_t>(reflections.size()) * stride, 0.0);
    double* v = vectors.get();
    for (Reflection& reflection : reflections) {
      q(column, column) = draw_reflection(random, column, n, v, reflection);
      --column;
      v += stride;
    }
    reflect(q.view(), reflections, threads);
  }
  return q;
}

double orthogonality_error(MatrixView<const double> r) {
  constexpr int64_t kTile = 512;
  double worst = 0;
  Matrix<double> product(std::min(kTile, r.rows), r.rows);
  for (int64_t first = 0; first < r.rows; first += kTile) {
    const int64_t rows = std::min(kTile, r.rows - first), cols = r.rows - first;  // the product is symmetric
    const MatrixView<double> tile(product.data.data(), rows, cols);
    gemm<double>(r.block(first, 0, rows, r.cols), r.block(first, 0, cols, r.cols), tile, false, true);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) {
        const double error = std::abs(tile(i, j) - (i == j));
        if (std::isnan(error)) return error;
        worst = std::max(worst, error);
      }
  }
  return worst;
}

}  // namespace spinor
#endif
