// The ranges of all groups of a weight, found tile by tile: minmax, or the mse search on top.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/quant/bands.h"
#include "spinor/quant/grid_search.h"
#include "spinor/quant/scale.h"

namespace spinor {

// A tile at (row, col) of a weight, rounded to a dtype row by row as it is read. For one thread.
class Tile {
 public:
  Tile(DType rounded, int64_t row, int64_t col, MatrixView<const float> x);

  const int64_t row, col;
  int64_t cols() const { return x_.cols; }
  DType rounded() const { return rounded_; }
  // Columns [begin, end) of row i; valid until the next call.
  const float* read(int64_t i, int64_t begin, int64_t end);
  const float* read(int64_t i) { return read(i, 0, x_.cols); }

 private:
  DType rounded_;
  MatrixView<const float> x_;
  std::vector<float> scratch_;
};

// Tiles come as WeightEncoder has it: in any order, from several threads.
class RangeObserver {
 public:
  // Without `search` the ranges are those of the values.
  RangeObserver(const GroupGrid& grid, bool symmetric, std::optional<GridSearch> search);

  // Before the first pass: how much errors in each column weigh in the search. Without it all weigh the same.
  void set_importance(std::vector<float> importance) { importance_ = std::move(importance); }
  // Whether all passes are over.
  bool done() const { return done_; }
  bool searches() const { return search_.has_value(); }
  // The range of a group, as far as it is known.
  Range range(int64_t group) const;
  float largest_magnitude() const;

  // Error for values that are not finite in the tile's dtype.
  void observe(int pass, Tile& tile, const Band& band);
  void end_pass(int pass);

 private:
  // The errors of a part of a group, from one tile.
  struct Part {
    int64_t group, row, col;
    std::vector<double> errors;
  };

  void widen_groups(Tile& tile, const Band& band);
  void search_groups(Tile& tile, const Band& band, bool whole);
  void end_search();

  GroupGrid grid_;
  std::optional<GridSearch> search_;
  std::vector<float> importance_;                // of every column, or empty
  std::vector<float> low_, high_;                // of every group; symmetric codes need no low
  std::vector<GridSearch::Steps> improvements_;  // of every group, until the search has ended
  std::vector<Part> parts_;
  std::mutex mutex_;  // guards ranges and parts while tiles come
  std::atomic<bool> has_parts_ = false;
  bool done_ = false;
};

}  // namespace spinor
