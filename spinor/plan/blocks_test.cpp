#include "spinor/plan/blocks.h"

#include <gtest/gtest.h>

namespace spinor::blocks_test {
namespace {

Rotation identity(int64_t n) {
  Matrix<double> m(n, n);
  for (int64_t i = 0; i < n; ++i) m(i, i) = 1;
  return Rotation::dense(std::move(m), true);
}

struct Case {
  const char* name;
  int64_t rows, cols, bytes;
  std::vector<Edit> edits;
};

std::vector<Case> cases() {
  const Rotation r64 = identity(64), r96 = identity(96);
  return {
      {"no edits", 1000, 37, 2, {}},
      {"one row", 1, 100000, 8, {}},
      {"one column", 100000, 1, 2, {}},
      {"larger than a block", 5000, 3000, 2, {}},
      {"rows mixed in groups", 640, 96, 2, {MultiplyLeft{r64, "R2"}, MultiplyRight{r96, "R1"}}},
      {"all rows mixed", 96, 70000, 2, {MultiplyLeft{r96, "R1"}}},
      {"all rows mixed, columns in groups", 96, 6400, 4, {MultiplyLeft{r96, "R1"}, MultiplyRight{r64, "R2"}}},
      {"all mixed", 96, 96, 4, {MultiplyLeft{r96, "R1"}, MultiplyRight{r96, "R1"}}},
      {"centred", 300, 4096, 2, {CenterRows{}}},
      {"norm and bias", 300, 4096, 2, {FoldNormWithBias{"g", "b"}}},
      {"norm and bias, stored transposed", 4096, 300, 2, {FoldNormWithBias{"g", "b", 0, true}}},
  };
}

TEST(Blocks, CoverEveryElementOnce) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Cut parts = cut(c.rows, c.cols, c.bytes, c.edits);
    std::vector<int> seen(static_cast<size_t>(c.rows * c.cols));
    for (int64_t b = 0; b < parts.blocks(); ++b)
      for (const Block& tile : parts.tiles(parts.block(b)))
        for (int64_t i = 0; i < tile.rows; ++i)
          for (int64_t j = 0; j < tile.cols; ++j) ++seen[static_cast<size_t>((tile.row + i) * c.cols + tile.col + j)];
    EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
  }
}

TEST(Blocks, TilesHoldEveryGroupOfRowsAndColumnsThatAnEditMixes) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Cut parts = cut(c.rows, c.cols, c.bytes, c.edits);
    for (int64_t b = 0; b < parts.blocks(); ++b)
      for (const Block& tile : parts.tiles(parts.block(b)))
        for (const Edit& edit : c.edits) {
          if (const auto* left = std::get_if<MultiplyLeft>(&edit)) {
            EXPECT_EQ(tile.row % left->r.size(), 0);
            EXPECT_EQ(tile.rows % left->r.size(), 0);
          }
          if (const auto* right = std::get_if<MultiplyRight>(&edit)) {
            EXPECT_EQ(tile.col % right->r.size(), 0);
            EXPECT_EQ(tile.cols % right->r.size(), 0);
          }
          if (std::holds_alternative<CenterRows>(edit)) {
            EXPECT_EQ(tile.cols, c.cols);
          }
          if (const auto* fold = std::get_if<FoldNormWithBias>(&edit)) {
            EXPECT_EQ(fold->transposed ? tile.rows : tile.cols, fold->transposed ? c.rows : c.cols);
          }
        }
  }
}

TEST(Blocks, AnEmptyTensorHasNone) {
  EXPECT_EQ(cut(0, 5, 2, {}).blocks() + cut(5, 0, 2, {}).blocks(), 0);
}

// Matrices stored transposed one below the other: less than all rows of one would be read in small pieces.
TEST(Blocks, HaveWholeMatricesWhereTheFileHasTheirColumnsTogether) {
  const Granularity source{.rows = 32, .read_rows = 2880};
  const Cut large = cut(32 * 2880, 5760, 2, {}, source);
  EXPECT_EQ(large.block_rows, 2880);
  EXPECT_EQ(large.tile_rows, 32);
  const Cut small = cut(6 * 96, 64, 2, {}, {.rows = 32, .read_rows = 96});
  EXPECT_EQ(small.block_rows % 96, 0);
  const Rotation r = identity(96);
  const Cut rotated = cut(6 * 96, 64, 2, {{MultiplyLeft{r, "R1"}}}, {.rows = 32, .read_rows = 96});
  EXPECT_EQ(rotated.tile_rows % 96, 0);
  EXPECT_EQ(rotated.block_rows % rotated.tile_rows, 0);
}

TEST(Blocks, StayBoundedForTheLargestTensors) {
  // down_proj of a 405B Llama: 16384 x 53248, all rows mixed.
  const std::vector<Edit> edits = {MultiplyLeft{Rotation::hadamard(Hadamard::sylvester(16384)), "R1"}};
  const Cut parts = cut(16384, 53248, 2, edits);
  EXPECT_LE(parts.block_rows * parts.block_cols * 2, 64 << 20);
  EXPECT_LE(parts.tile_rows * parts.tile_cols, 1 << 21);
}

}  // namespace
}  // namespace spinor::blocks_test
