// How a tensor is cut for editing: blocks are read and written at once, tiles inside a block are computed at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/plan/edit.h"

namespace spinor {

// The cut depends only on the shape, the element size and the edits, never on the number of threads: so neither do
// results.
struct Cut {
  int64_t rows = 0, cols = 0;              // of the tensor as a matrix
  int64_t block_rows = 0, block_cols = 0;  // read and written at once; the last one may be smaller
  int64_t tile_rows = 0, tile_cols = 0;    // computed at once

  int64_t blocks() const;
  Block block(int64_t index) const;                    // row-major order
  std::vector<Block> tiles(const Block& block) const;  // positions inside the tensor
};

// Every edit must find its rows and columns whole inside a tile: blockdiag(r) from the left needs a multiple of r's
// size in rows, from the right in columns; CenterRows and FoldNormWithBias need all inputs; so must the codes of
// `codes`, and its groups where that keeps a tile small. Row blocks where that keeps a block small, column panels where
// it does not, the whole matrix when both sides are mixed completely. element_bytes: the larger of source's and
// output's.
Cut cut(int64_t rows, int64_t cols, int64_t element_bytes, std::span<const Edit> edits, const Granularity& codes = {});

// Whether every group lies whole in one tile.
bool holds_groups(const Cut& cut, const Granularity& codes);

}  // namespace spinor
