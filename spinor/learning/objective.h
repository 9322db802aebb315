// Objectives of learning, one row of a table each. Those of rows are layer-wise: what is small where rows y = x R are
// easy to quantize, with its gradient. psot and whip have a scale of their own: rows are to be about sqrt(n) long, as a
// norm leaves them. Those of the network are of the logits at its end (network.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "spinor/quant/scheme.h"

namespace spinor::learning {

// dL/dy for y (rows, n). Dense: values (rows, n), columns undefined. Sparse: values (rows, k) stand in the columns
// (rows, k) of their rows, zeros elsewhere; what names a column twice adds up.
struct RowGradient {
  at::Tensor values, columns;
};

struct RowLoss {
  double loss = 0;
  RowGradient gradient;
};

// The quantizer of a recipe, as `quantization` needs it: token, group and tensor_group (NVFP4).
struct RowQuantizer {
  QuantizationArgs args;
  std::optional<float> global = {};  // of tensor_group; nothing: that of the rows which are evaluated
};

// How long to learn, unless told otherwise.
struct LearningDefaults {
  int64_t steps = 100, batch = 2048;  // tokens a step where the network is run
  double learning_rate = 0.004;
};

struct Objective {
  std::string_view name, source;
  // What the first token of a window weighs where others weigh 1: attention sinks have the largest outliers.
  double first_weight = 1;
  bool needs_quantizer = false;
  // Of rows. shares (rows, 1): weights that add up to 1.
  RowLoss (*evaluate)(const at::Tensor& y, const at::Tensor& shares, const RowQuantizer* quantizer) = nullptr;
  // Of the network, as network_objectives.h has it; a sum over rows that gradients go through.
  at::Tensor (*of_logits)(const at::Tensor& logits, const at::Tensor& reference, const at::Tensor& next) = nullptr;
  bool needs_reference = false;  // the logits without quantization
  std::string_view start = {};   // the objective by whose R1 learning starts; empty: it starts from what is drawn
  LearningDefaults defaults = {};

  bool of_network() const { return of_logits != nullptr; }
};

std::span<const Objective> objectives();
// Error for a name that is not in the table.
const Objective& find_objective(std::string_view name);

// The mean of the objective over rows y (rows, n), float32 or float64, with positive weights (rows), and its gradient.
// Error: it is of the network; it needs a quantizer and has none, or one that is not for rows of this length.
RowLoss evaluate(const Objective& objective, const at::Tensor& y, const at::Tensor& weights,
                 const RowQuantizer* quantizer = nullptr);

// y'F (size, size), F being dL/dy: the gradient in the frame of R, of R (1 + B) at B = 0, for y = x R. Where R is one
// block of blockdiag(R, ..., R), of a size that divides n: the sum over blocks. A sparse F costs rows k size.
at::Tensor rotation_gradient(const at::Tensor& y, const RowGradient& gradient, int64_t size);

}  // namespace spinor::learning
