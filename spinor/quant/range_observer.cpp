#include "spinor/quant/range_observer.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "spinor/base/error.h"

namespace spinor {

Tile::Tile(DType rounded, int64_t tile_row, int64_t tile_col, MatrixView<const float> x)
    : row(tile_row), col(tile_col), rounded_(rounded), x_(x) {
  if (rounded != DType::F32) scratch_.resize(static_cast<size_t>(x.cols));
}

const float* Tile::read(int64_t i, int64_t begin, int64_t end) {
  if (rounded_ == DType::F32) return x_.row(i) + begin;
  round_row(rounded_, x_.row(i) + begin, end - begin, scratch_.data());
  return scratch_.data();
}

RangeObserver::RangeObserver(const GroupGrid& grid, bool symmetric, std::optional<GridSearch> search)
    : grid_(grid), search_(std::move(search)) {
  const auto groups = static_cast<size_t>(grid.count());
  high_.resize(groups);
  if (!symmetric) low_.resize(groups);
  if (search_) improvements_.resize(groups);
}

Range RangeObserver::range(int64_t group) const {
  const float high = high_[static_cast<size_t>(group)];
  return {low_.empty() ? -high : low_[static_cast<size_t>(group)], high};
}

float RangeObserver::largest_magnitude() const {
  const float high = *std::ranges::max_element(high_);
  return low_.empty() ? high : std::max(high, -*std::ranges::min_element(low_));
}

void RangeObserver::observe(int pass, Tile& tile, const Band& band) {
  if (pass == 0) widen_groups(tile, band);
  if (search_) search_groups(tile, band, pass == 0);
}

void RangeObserver::end_pass(int pass) {
  if (pass == 0 && has_parts_) return;
  if (search_) end_search();
  done_ = true;
}

// Of a band's groups, as far as the tile holds them.
void RangeObserver::widen_groups(Tile& tile, const Band& band) {
  std::vector<float> low(static_cast<size_t>(band.groups)), high(low.size());
  for (int64_t i = band.row; i < band.row + band.rows; ++i)
    if (!widen(tile.read(i), tile.cols(), band.segments, low.data(), high.data()))
      throw Error("weight",
                  fmt::format("row {} has a value that is not finite as {}", tile.row + i, info(tile.rounded()).name));
  const std::lock_guard lock(mutex_);
  for (size_t k = 0; k < low.size(); ++k) {
    const size_t group = static_cast<size_t>(band.first_group) + k;
    if (low_.empty()) {
      high_[group] = std::max({high_[group], high[k], -low[k]});
    } else {
      high_[group] = std::max(high_[group], high[k]);
      low_[group] = std::min(low_[group], low[k]);
    }
  }
}

// Searches the groups that lie in the tile as a whole, whose ranges are known at once; or takes what the tile holds of
// others.
void RangeObserver::search_groups(Tile& tile, const Band& band, bool whole) {
  const auto steps = static_cast<size_t>(search_->steps());
  std::vector<Affine> candidates(steps);
  std::vector<double> errors(steps);
  for (int64_t k = 0; k < band.groups; ++k) {
    const int64_t group = band.first_group + k;
    if (grid_.whole(band, k, tile.col, tile.cols()) != whole) {
      if (whole) has_parts_ = true;
      continue;
    }
    search_->candidates(range(group), candidates);
    std::ranges::fill(errors, 0.0);
    const int64_t begin = band.begin(k), end = band.end(k, tile.cols());
    const float* importance = importance_.empty() ? nullptr : importance_.data() + tile.col + begin;
    for (int64_t i = band.row; i < band.row + band.rows; ++i)
      search_->add_errors(candidates, tile.read(i, begin, end), end - begin, errors.data(), importance);
    if (whole) {
      improvements_[static_cast<size_t>(group)] = search_->improvements(errors);
    } else {
      const std::lock_guard lock(mutex_);
      parts_.push_back({group, tile.row + band.row, tile.col, errors});
    }
  }
}

// Parts are added in the order of their place, whatever order they came in.
void RangeObserver::end_search() {
  std::ranges::sort(parts_, {}, [](const Part& p) { return std::tuple(p.group, p.row, p.col); });
  for (size_t i = 0; i < parts_.size();) {
    Part& sum = parts_[i];
    for (++i; i < parts_.size() && parts_[i].group == sum.group; ++i)
      for (size_t k = 0; k < sum.errors.size(); ++k) sum.errors[k] += parts_[i].errors[k];
    improvements_[static_cast<size_t>(sum.group)] = search_->improvements(sum.errors);
  }
  GridSearch::Steps any;
  for (const GridSearch::Steps& steps : improvements_) any |= steps;
  const GridSearch::Steps tried = search_->tried(any);
  for (size_t group = 0; group < high_.size(); ++group) {
    const Range found = search_->found(range(static_cast<int64_t>(group)), improvements_[group] & tried);
    high_[group] = found.high;
    if (!low_.empty()) low_[group] = found.low;
  }
  parts_ = {};
  improvements_ = {};
}

}  // namespace spinor
