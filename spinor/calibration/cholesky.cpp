#include "spinor/calibration/cholesky.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "spinor/calibration/on_each.h"

namespace spinor::calibration {
namespace {

constexpr int64_t kColumns = 256;  // of L that are found together
constexpr int64_t kTile = 512;     // of what is left, updated at once

// Rows [first, first + count) of the columns [column, column + width).
at::Tensor block_of(const at::Tensor& matrix, int64_t first, int64_t count, int64_t column, int64_t width) {
  return matrix.narrow(0, first, count).narrow(1, column, width);
}

bool factor_diagonal(at::Tensor block) {
  const auto [lower, failed] = at::linalg_cholesky_ex(block);
  block.copy_(lower);
  return failed.item<int>() == 0 && at::isfinite(lower.diagonal().sum()).item<bool>();
}

// The rows below a diagonal block that is done: X L' = A.
void solve_below(const at::Tensor& matrix, int64_t column, int64_t width, int threads) {
  const at::Tensor upper = block_of(matrix, column, width, column, width).t();
  const int64_t begin = column + width, left = matrix.size(0) - begin;
  on_each((left + kTile - 1) / kTile, threads, [&](int64_t piece) {
    const int64_t first = begin + piece * kTile;
    at::Tensor rows = block_of(matrix, first, std::min(kTile, matrix.size(0) - first), column, width);
    rows.copy_(at::linalg_solve_triangular(upper, rows, /*upper=*/true, /*left=*/false));
  });
}

void update_rest(const at::Tensor& matrix, int64_t column, int64_t width, int threads) {
  const int64_t size = matrix.size(0);
  std::vector<std::pair<int64_t, int64_t>> tiles;  // first row, first column
  for (int64_t row = column + width; row < size; row += kTile)
    for (int64_t col = column + width; col <= row; col += kTile) tiles.emplace_back(row, col);
  on_each(std::ssize(tiles), threads, [&](int64_t i) {
    const auto [row, col] = tiles[static_cast<size_t>(i)];
    const int64_t rows = std::min(kTile, size - row), cols = std::min(kTile, size - col);
    block_of(matrix, row, rows, col, cols)
        .addmm_(block_of(matrix, row, rows, column, width), block_of(matrix, col, cols, column, width).t(), 1, -1);
  });
}

}  // namespace

bool factor_in_place(at::Tensor matrix, int threads) {
  const int64_t size = matrix.size(0);
  for (int64_t column = 0; column < size; column += kColumns) {
    const int64_t width = std::min(kColumns, size - column);
    if (!factor_diagonal(block_of(matrix, column, width, column, width))) return false;
    solve_below(matrix, column, width, threads);
    update_rest(matrix, column, width, threads);
    if (column + width < size) block_of(matrix, column, width, column + width, size - column - width).zero_();
  }
  return true;
}

}  // namespace spinor::calibration
