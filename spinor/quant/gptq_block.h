// The column loop of GPTQ inside one block of columns, vectorized over rows.
#pragma once

#include <cstdint>
#include <span>

#include "spinor/base/view.h"
#include "spinor/quant/round.h"

namespace spinor {

// Rows are padded to a multiple of this where vectors run over them.
inline constexpr int64_t kGptqRows = 128;

// Columns in the order of processing, the last one first.
struct GptqBlock {
  MatrixView<float> w;            // (rows, n); in: the weight, out: what its codes stand for
  MatrixView<float> s;            // (rows, n); in: what later columns add, out: what codes stand for less the weight
  MatrixView<uint8_t> codes;      // (rows, n); out
  MatrixView<const float> lower;  // (n, n): of L, the rows and columns of the block
  MatrixView<const float> scale, zero;  // (groups, rows padded)
  std::span<const int64_t> group;       // of each column: the row of scale and zero
};

// errors[i] += the squared error of row i that L weighs. Codes are those of quantize() in float32; what they stand for
// is that of dequantize(), rounded to numbers.arithmetic. Rows do not depend on each other; all CPU levels with fused
// multiply-adds give the same bits.
void gptq_block(const Numbers& numbers, const GptqBlock& block, double* errors);

}  // namespace spinor
