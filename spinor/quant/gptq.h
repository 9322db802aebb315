// GPTQ: the codes of a weight found column by column, each making up for the errors of those before it, so that what
// the layer puts out changes least on the inputs that a Hessian H = X X' stands for.
//
// Nothing is inverted. Where the classical form takes the upper Cholesky factor of the inverse of H and moves the
// remaining weights, this takes the lower factor L of H with its columns in reverse, H = L L', and keeps the weights:
// the value to quantize at k is w_k + sum_{j > k} (w_j - q_j) L_jk / L_kk, k descending. It is the same value.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/quant/encoder.h"

namespace spinor {

struct GptqWeight {
  MatrixView<float> w;             // (rows, cols); in: the weight, out: what its codes stand for
  MatrixView<uint8_t> codes;       // (rows, cols); out: one byte each, for WeightEncoder::pack
  MatrixView<const float> lower;   // (cols, cols): L; what is right of its diagonal is not read
  std::span<const int64_t> order;  // the column of w that each row of L is about; the last is quantized first
};

// All passes of `encoder` over a whole weight, at least one, so that its scales are known.
void observe_weight(WeightEncoder& encoder, MatrixView<const float> w, int threads = 0);

// With the scales of an encoder that has observed the weight. Returns, for each row, the squared error of its outputs:
// |(w - q) L|^2, which is (w - q) H (w - q)'. What codes stand for is computed in the encoder's arithmetic, the values
// to quantize are float32, as llm-compressor has it. Results depend on block_size in the last bits, but not on threads,
// nor on the CPU level (but for baseline, which rounds products). Errors, about "weight": L is no Cholesky factor, sums
// are not finite, as of WeightEncoder::encode. Takes 4 bytes an element of the rows that the threads work on.
std::vector<double> gptq(const WeightEncoder& encoder, const GptqWeight& weight, int64_t block_size = 128,
                         int threads = 0);

}  // namespace spinor
