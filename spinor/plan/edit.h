// What may happen to one tensor. A closed set: printing and execution are both exhaustive.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "spinor/base/slice.h"
#include "spinor/linalg/rotation.h"
#include "spinor/quant/codec.h"

namespace spinor {

// W (out, in) is a weight, however it is stored; a bias or norm weight is one row. `label` is what describe() prints:
// "R1".

// W <- W diag(g + offset), g the source's tensor `norm`: "model.layers.0.input_layernorm.weight". Where g is shorter
// than the rows of W, it is repeated.
struct FoldNorm {
  std::string norm;
  double offset = 0;
};
// Each row minus its mean.
struct CenterRows {};
// W <- W blockdiag(r); with `part` only those columns.
struct MultiplyRight {
  Rotation r;
  std::string label;
  std::optional<Slice> part = {};
};
// W <- blockdiag(r) W; with `part` only those rows.
struct MultiplyLeft {
  Rotation r;
  std::string label;
  std::optional<Slice> part = {};
};
// Every element. A folded norm becomes 1 - offset.
struct Fill {
  double value = 0;
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
};
// The last edit of a tensor: what the format stores takes the place of the weight.
struct Quantize {
  WeightQuantization quantization;
};
// W <- dequantize(quantize(W)).
struct QuantizeDequantize {
  WeightQuantization quantization;
};
using Edit = std::variant<FoldNorm, CenterRows, MultiplyRight, MultiplyLeft, Fill, Quantize, QuantizeDequantize>;

// What quantizes the tensor; null if nothing does. At most one edit of a tensor does.
const WeightQuantization* quantization_of(std::span<const Edit> edits);

// One phrase: "fold input_layernorm", "center rows", "W R1", "R2' W (8 blocks of 64)", "b R1", "fill 1", "quantize int4
// group 128 (pack-quantized)".
std::string describe(const Edit& edit, int64_t rows, int64_t cols);

}  // namespace spinor
