#include "spinor/quant/gptq.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/linalg/gemm.h"
#include "spinor/quant/bands.h"
#include "spinor/quant/gptq_block.h"

namespace spinor {
namespace {

constexpr int64_t kTileRows = 1024;    // the more, the fewer times L is read
constexpr int64_t kObservedRows = 64;  // at least: enough to pay for handing them out

constexpr int64_t round_up(int64_t n, int64_t step) {
  return (n + step - 1) / step * step;
}

void check_factor(MatrixView<const float> lower) {
  for (int64_t k = 0; k < lower.rows; ++k)
    if (!(lower(k, k) > 0) || !std::isfinite(lower(k, k)))
      throw Error("weight", fmt::format("the Hessian of its inputs is not positive definite at {}", k),
                  "dampen it more");
}

// Some rows of a weight, which do not depend on others; their columns lie in the order of processing meanwhile.
class RowTile {
 public:
  RowTile(const WeightEncoder& encoder, const GptqWeight& weight, int64_t row, int64_t rows, int64_t block_size,
          double* errors);
  void run();

 private:
  void find_scales(int64_t row);
  void sort_columns();
  void process(int64_t begin, int64_t end);

  const WeightEncoder& encoder_;
  const GptqWeight& weight_;
  int64_t block_size_;
  double* errors_;
  MatrixView<float> w_;
  MatrixView<uint8_t> codes_;
  Matrix<float> s_;             // of columns to come: sums; of columns done: what codes stand for less the weight
  Matrix<float> scale_, zero_;  // (groups side by side, rows padded)
  std::vector<int64_t> group_;  // of each column: the row of scale_
};

RowTile::RowTile(const WeightEncoder& encoder, const GptqWeight& weight, int64_t row, int64_t rows, int64_t block_size,
                 double* errors)
    : encoder_(encoder),
      weight_(weight),
      block_size_(block_size),
      errors_(errors + row),
      w_(weight.w.block(row, 0, rows, weight.w.cols)),
      codes_(weight.codes.block(row, 0, rows, weight.w.cols)),
      s_(rows, weight.w.cols) {
  find_scales(row);
}

void RowTile::find_scales(int64_t row) {
  const GroupGrid grid(encoder_.layout());
  scale_ = zero_ = Matrix<float>(grid.cols(), round_up(w_.rows, kGptqRows));
  std::ranges::fill(scale_.data, 1.0F);
  for (int64_t i = 0; i < w_.rows; ++i) {
    const int64_t first = (row + i) / grid.size().group_rows * grid.cols();
    for (int64_t g = 0; g < grid.cols(); ++g) {
      const Affine affine = encoder_.affine(first + g);
      scale_(g, i) = affine.scale;
      zero_(g, i) = affine.zero;
    }
  }
  for (const int64_t col : weight_.order) group_.push_back(col / grid.size().group_cols);
}

void RowTile::sort_columns() {
  std::vector<float> row(static_cast<size_t>(w_.cols));
  for (int64_t i = 0; i < w_.rows; ++i) {
    round_row(encoder_.rounded(), w_.row(i), w_.cols, row.data());
    std::ranges::transform(weight_.order, w_.row(i), [&](int64_t col) { return row[static_cast<size_t>(col)]; });
  }
}

template <typename T>
void restore(std::span<const int64_t> order, MatrixView<T> sorted) {
  std::vector<T> row(order.size());
  for (int64_t i = 0; i < sorted.rows; ++i) {
    std::copy_n(sorted.row(i), sorted.cols, row.begin());
    for (size_t k = 0; k < order.size(); ++k) sorted(i, order[k]) = row[k];
  }
}

void RowTile::run() {
  sort_columns();
  process(0, w_.cols);
  restore(weight_.order, w_);
  restore(weight_.order, codes_);
}

// Columns [begin, end), the later half first, whose errors then reach the earlier half in one product.
void RowTile::process(int64_t begin, int64_t end) {
  const int64_t n = end - begin, rows = w_.rows;
  const MatrixView<float> s = s_.view();
  if (n <= block_size_) {
    return gptq_block(encoder_.numbers(),
                      {.w = w_.block(0, begin, rows, n),
                       .s = s.block(0, begin, rows, n),
                       .codes = codes_.block(0, begin, rows, n),
                       .lower = weight_.lower.block(begin, begin, n, n),
                       .scale = scale_.view(),
                       .zero = zero_.view(),
                       .group = std::span(group_).subspan(static_cast<size_t>(begin), static_cast<size_t>(n))},
                      errors_);
  }
  const int64_t mid = begin + round_up(n / 2, block_size_);
  process(mid, end);
  gemm_subtract<float>(s.block(0, mid, rows, end - mid), weight_.lower.block(mid, begin, end - mid, mid - begin),
                       s.block(0, begin, rows, mid - begin));
  process(begin, mid);
}

}  // namespace

void observe_weight(WeightEncoder& encoder, MatrixView<const float> w, int threads) {
  const int64_t group_rows = encoder.granularity().group_rows;
  const bool whole_groups = group_rows < w.rows;
  const int64_t step = whole_groups ? round_up(kObservedRows, group_rows) : kObservedRows;
  for (int pass = 0; pass < std::max(encoder.passes(whole_groups), 1); ++pass) {
    parallel_for((w.rows + step - 1) / step, threads, [&](int64_t item, int) {
      const int64_t row = item * step;
      encoder.observe(pass, row, 0, w.block(row, 0, std::min(step, w.rows - row), w.cols));
    });
    encoder.end_pass(pass);
  }
}

std::vector<double> gptq(const WeightEncoder& encoder, const GptqWeight& weight, int64_t block_size, int threads) {
  const int64_t rows = weight.w.rows;
  assert(weight.codes.rows == rows && weight.codes.cols == weight.w.cols && block_size > 0);
  assert(weight.lower.rows == weight.w.cols && weight.lower.cols == weight.w.cols);
  assert(std::ssize(weight.order) == weight.w.cols);
  check_factor(weight.lower);
  if (threads <= 0) threads = default_threads();
  const int64_t step = std::min(kTileRows, round_up((rows + threads - 1) / threads, kGptqRows));
  std::vector<double> errors(static_cast<size_t>(rows));
  parallel_for((rows + step - 1) / step, threads, [&](int64_t item, int) {
    const int64_t row = item * step;
    RowTile(encoder, weight, row, std::min(step, rows - row), block_size, errors.data()).run();
  });
  for (int64_t i = 0; i < rows; ++i)
    if (!std::isfinite(errors[static_cast<size_t>(i)]))
      throw Error("weight", fmt::format("the error of row {} is not finite", i), "dampen the Hessian more");
  return errors;
}

}  // namespace spinor
