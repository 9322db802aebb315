// What may happen to one tensor. A closed set: printing and execution are both exhaustive.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "spinor/base/slice.h"
#include "spinor/linalg/rotation.h"
#include "spinor/quant/encoder.h"

namespace spinor {

// W (out, in) is a weight, however it is stored; a bias or norm weight is one row. `label` is what text_of() prints:
// "R1".

// W <- W diag(g + offset), g the source's tensor `norm`: "model.layers.0.input_layernorm.weight". Where g is shorter
// than the rows of W, it is repeated. With `columns` only those; `rows`: W <- diag(g + offset) W; `inverse`: by 1 / (g
// + offset). A bias has one row, so its entries are its columns.
struct FoldNorm {
  std::string norm;
  double offset = 0;
  std::optional<Slice> columns = {};
  bool rows = false, inverse = false;
};
// A LayerNorm, LN(x) diag(g) + beta, whose readers all have a bias: b <- b + W beta, W the source's tensor `weight`,
// before any edit. Where W is stored as (in, out): `transposed`. Each W takes a FoldNorm, the norm Fill{1 - offset} and
// Fill{0}.
struct FoldNormBias {
  std::string norm_bias, weight;
  bool transposed = false;
};
// The same where a reader has no bias: W <- W diag(g + offset) + a 1^T, a = W (beta / t - g - offset) / n, t the level
// of beta: LN(x) has no mean, so a 1^T makes W beta of t 1 alone. The norm takes Fill{1 - offset} and FillLevel.
// `transposed` is set by stored_edits.
struct FoldNormWithBias {
  std::string norm, norm_bias;
  double offset = 0;
  bool transposed = false;
};
// Every element <- the level of the source's tensor: the power of two nearest to its rms, 0 if it is all zero.
struct FillLevel {};
// Each row minus its mean.
struct CenterRows {};
// W <- W blockdiag(r); with `part` only those columns.
struct MultiplyRight {
  Rotation r;
  std::string label;
  std::optional<Slice> part = {};
  bool undone_online = false;  // by a transform of the same module while the model runs
};
// W <- blockdiag(r) W; with `part` only those rows.
struct MultiplyLeft {
  Rotation r;
  std::string label;
  std::optional<Slice> part = {};
  bool undone_online = false;
};
// W <- diag(d) W, or with `columns` W <- W diag(d), d being `by` or with `inverse` 1 / by; with `part` only those rows
// or columns, which `by` is for. Of a stack (WeightShape::count) it has the factors of one matrix after the other.
struct Scale {
  std::shared_ptr<const std::vector<double>> by;
  std::string label;
  bool columns = false, inverse = false;
  std::optional<Slice> part = {};
};
// Every element. A folded norm becomes 1 - offset.
struct Fill {
  double value = 0;
};
// GPTQ (arXiv 2210.17323), in llm-compressor's words.
struct GptqOptions {
  int64_t block_size = 128;      // columns quantized before what is left is updated
  double dampening_frac = 0.01;  // of the mean of the Hessian's diagonal, added to it

  bool operator==(const GptqOptions&) const = default;
};
// How a weight is quantized: what quantization_config says, and how its codes are found.
struct WeightQuantization {
  QuantizationArgs args;
  std::string format;
  ObserverOptions observer = {};
  QuantizationArithmetic arithmetic = QuantizationArithmetic::exact;
  // Tensors with the same name here share one global scale (nvfp4: q, k, v; gate, up); empty: it has its own.
  std::string fused = {};
  std::optional<DType> scale_dtype = {};  // of plain scales; none: the output's, as files have it
  std::optional<GptqOptions> gptq = {};   // codes are found with data; none: each is the nearest
  bool importance = false;                // the observer's search weighs columns by their inputs, which takes data too

  bool needs_data() const { return gptq || importance; }
};
// The last edit of a tensor: what the format stores takes the place of the weight.
struct Quantize {
  WeightQuantization quantization;
};
// W <- dequantize(quantize(W)).
struct QuantizeDequantize {
  WeightQuantization quantization;
};
using Edit = std::variant<FoldNorm, FoldNormBias, FoldNormWithBias, FillLevel, CenterRows, MultiplyRight, MultiplyLeft,
                          Scale, Fill, Quantize, QuantizeDequantize>;

// What quantizes the tensor; null if nothing does. At most one edit of a tensor does.
const WeightQuantization* quantization_of(std::span<const Edit> edits);

// One phrase: "fold input_layernorm", "fold bias of input_layernorm", "fold input_layernorm with its bias", "fill
// level", "center rows", "W R1", "R2' W (8 blocks of 64)", "b R1", "rows times scale m", "columns over scale m", "fill
// 1", "quantize int4 group 128 (pack-quantized)".
std::string text_of(const Edit& edit, int64_t rows, int64_t cols);

}  // namespace spinor
