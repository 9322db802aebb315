#include "spinor/plan/blocks.h"

#include <algorithm>
#include <numeric>

namespace spinor {
namespace {

// A block of rows is contiguous in the file: a few megabytes keep system calls rare. A panel of columns is read row by
// row, so it is made wide: 32 MiB hold 4096 columns of an 8B model's down_proj, 8 KiB a read.
constexpr int64_t kRowBlockBytes = 1 << 18;
constexpr int64_t kPanelBytes = 32 << 20;
// Fast transforms want a tile inside the L2 cache: whole rows 128 KiB of double, since they pay nothing for being few;
// columns more, since a tile of them wants whole cache lines of the file. Dense products want one large enough to pay
// for packing.
constexpr int64_t kRowTileElements = 1 << 14;
constexpr int64_t kTileElements = 1 << 17;
constexpr int64_t kDenseTileElements = 1 << 21;
// A tile may grow to this to hold whole groups; beyond it, groups are observed in a pass of their own.
constexpr int64_t kGroupTileElements = 1 << 21;

// What must stay together.
struct Step {
  int64_t rows = 1, cols = 1;
  bool dense = false;
};

// A rotation's blocks; of a part that does not begin with one, all that repeats.
template <typename Multiply>
int64_t side_step(const Multiply& edit) {
  const int64_t size = edit.r.size();
  const bool aligned = !edit.part || (edit.part->begin % size == 0 && edit.part->period % size == 0);
  return aligned ? size : edit.part->period;
}

Step step_of(int64_t rows, int64_t cols, std::span<const Edit> edits) {
  Step g;
  for (const Edit& edit : edits) {
    if (const auto* right = std::get_if<MultiplyRight>(&edit)) {
      g.cols = std::lcm(g.cols, side_step(*right));
      g.dense |= right->r.is_dense();
    } else if (const auto* left = std::get_if<MultiplyLeft>(&edit)) {
      g.rows = std::lcm(g.rows, side_step(*left));
      g.dense |= left->r.is_dense();
    } else if (std::holds_alternative<CenterRows>(edit)) {
      g.cols = cols;
    } else if (const auto* fold = std::get_if<FoldNormWithBias>(&edit)) {
      (fold->transposed ? g.rows : g.cols) = fold->transposed ? rows : cols;
    }
  }
  return g;
}

// The largest multiple of `step` that is at most `want`, but at least one step and at most `limit`.
int64_t multiple(int64_t step, int64_t want, int64_t limit) {
  return std::min(limit, std::max<int64_t>(1, want / step) * step);
}

// `step` as a multiple of `group` too, unless that is more than `limit`.
int64_t with_groups(int64_t step, int64_t group, int64_t limit) {
  const int64_t both = std::lcm(step, group);
  return both <= limit ? both : step;
}

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

int64_t Cut::blocks() const {
  if (rows == 0 || cols == 0) return 0;
  return ceil_div(rows, block_rows) * ceil_div(cols, block_cols);
}

Block Cut::block(int64_t index) const {
  const int64_t across = ceil_div(cols, block_cols);
  const int64_t row = index / across * block_rows, col = index % across * block_cols;
  return {row, col, std::min(block_rows, rows - row), std::min(block_cols, cols - col)};
}

std::vector<Block> Cut::tiles(const Block& block) const {
  std::vector<Block> tiles;
  for (int64_t row = 0; row < block.rows; row += tile_rows)
    for (int64_t col = 0; col < block.cols; col += tile_cols)
      tiles.push_back({block.row + row, block.col + col, std::min(tile_rows, block.rows - row),
                       std::min(tile_cols, block.cols - col)});
  return tiles;
}

Cut cut(int64_t rows, int64_t cols, int64_t element_bytes, std::span<const Edit> edits, const Granularity& codes) {
  Cut c{.rows = rows, .cols = cols};
  if (rows == 0 || cols == 0) return c;
  Step step = step_of(rows, cols, edits);
  const int64_t tile_elements = step.dense ? kDenseTileElements : step.rows == 1 ? kRowTileElements : kTileElements;
  step.rows = std::min(rows, std::lcm(step.rows, codes.rows));
  step.cols = std::min(cols, std::lcm(step.cols, codes.cols));
  if (step.rows < rows && step.rows * cols > kGroupTileElements && step.cols < cols) {  // matrices one below the other
    c.tile_rows = c.block_rows = step.rows;
    c.tile_cols = multiple(step.cols, tile_elements / step.rows, cols);
    c.block_cols = multiple(c.tile_cols, kPanelBytes / (step.rows * element_bytes), cols);
  } else if (step.rows < rows || step.cols == cols) {  // rows can be taken apart, or nothing can
    step.rows = with_groups(step.rows, codes.group_rows, kGroupTileElements / cols);
    c.tile_rows = multiple(step.rows, tile_elements / cols, rows);
    c.tile_cols = cols;
    const int64_t read_rows = std::lcm(codes.read_rows > 1 ? step.rows : c.tile_rows, codes.read_rows);
    c.block_rows = multiple(read_rows, kRowBlockBytes / (cols * element_bytes), rows);
    c.tile_rows = std::min(c.tile_rows, c.block_rows);
    c.block_cols = cols;
  } else {
    step.cols = with_groups(step.cols, codes.group_cols, kGroupTileElements / rows);
    c.tile_rows = rows;
    c.tile_cols = multiple(step.cols, tile_elements / rows, cols);
    c.block_rows = rows;
    c.block_cols = multiple(c.tile_cols, kPanelBytes / (rows * element_bytes), cols);
  }
  return c;
}

bool holds_groups(const Cut& cut, const Granularity& codes) {
  const auto holds = [](int64_t tile, int64_t group, int64_t side) { return tile == side || tile % group == 0; };
  return holds(cut.tile_rows, codes.group_rows, cut.rows) && holds(cut.tile_cols, codes.group_cols, cut.cols);
}

}  // namespace spinor
