// How a tile falls into groups: bands of rows that share their groups, and in a band, pieces of groups side by side.
#pragma once

#include <algorithm>
#include <cstdint>

#include "spinor/quant/round.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {

struct Band {
  int64_t row = 0, rows = 0;  // of the tile
  int64_t first_group = 0;    // its index among all groups of the weight, row by row; the others follow
  int64_t groups = 0;
  Segments segments;
  bool whole_rows = false;  // no group reaches beyond the band's rows

  // The columns of the tile, of `cols`, that lie in the k-th group.
  int64_t begin(int64_t k) const { return k == 0 ? 0 : segments.first + (k - 1) * segments.size; }
  int64_t end(int64_t k, int64_t cols) const { return std::min(segments.first + k * segments.size, cols); }
};

class GroupGrid {
 public:
  GroupGrid() = default;
  explicit GroupGrid(const WeightLayout& layout) : rows_(layout.rows), cols_(layout.cols), size_(granularity(layout)) {}

  int64_t rows() const { return (rows_ + size_.group_rows - 1) / size_.group_rows; }
  int64_t cols() const { return (cols_ + size_.group_cols - 1) / size_.group_cols; }
  int64_t count() const { return rows() * cols(); }
  const Granularity& size() const { return size_; }

  // Calls work(band) for each band of the tile (rows, cols) at (row, col), from the top.
  template <class Work>
  void for_each_band(int64_t row, int64_t col, int64_t tile_rows, int64_t tile_cols, Work work) const {
    const int64_t first = col / size_.group_cols, last = (col + tile_cols - 1) / size_.group_cols;
    Band band{.groups = last - first + 1,
              .segments = {.first = (first + 1) * size_.group_cols - col, .size = size_.group_cols}};
    for (int64_t top = row; top < row + tile_rows; top += band.rows) {
      const int64_t group_row = top / size_.group_rows, bottom = std::min((group_row + 1) * size_.group_rows, rows_);
      band.row = top - row;
      band.rows = std::min(bottom, row + tile_rows) - top;
      band.first_group = group_row * cols() + first;
      band.whole_rows = top == group_row * size_.group_rows && top + band.rows == bottom;
      work(band);
    }
  }
  // Whether the k-th group of a band lies inside the tile.
  bool whole(const Band& band, int64_t k, int64_t col, int64_t tile_cols) const {
    const int64_t begin = col + band.begin(k), end = col + band.end(k, tile_cols);
    return band.whole_rows && begin % size_.group_cols == 0 && (end % size_.group_cols == 0 || end == cols_);
  }

 private:
  int64_t rows_ = 0, cols_ = 0;
  Granularity size_;
};

}  // namespace spinor
