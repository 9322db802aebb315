// Activations quantized and dequantized at once, row by row: what a runtime that computes with few bits would see.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/quant/scale.h"
#include "spinor/quant/scheme.h"

namespace spinor {

// Of tensors whose scale is not computed while the model runs; from the checkpoint.
struct StaticActivation {
  std::vector<Affine> affine;        // tensor: input_scale, input_zero_point; attn_head: k_scale, ... of each head
  std::optional<float> global = {};  // tensor_group: input_global_scale
};

// What codes of such activations stand for. Error for what spinor cannot quantize to, in words that follow the name of
// a module.
Numbers numbers_of(const QuantizationArgs& args);

// A value. Const members may run on several threads, each with a Scratch of its own. All is computed in float32.
class ActivationQuantizer {
 public:
  struct Scratch {
    std::vector<uint8_t> codes;
    std::vector<float> low, high;
    std::vector<Affine> affine;
  };

  // token: a scale a row; group: one per group_size elements of a row; tensor: a static one; tensor_group: FP8 scales
  // per group, and a static one for all; attn_head: a static one for each head, whose rows come in turn. clip: what the
  // range of values is multiplied by before the scale is computed (QuaRot's clip ratio). Error for what spinor cannot
  // run, in words that follow the name of a module.
  explicit ActivationQuantizer(const QuantizationArgs& args, float clip = 1, const StaticActivation& fixed = {});

  // tensor_group whose static scale nobody has found yet: apply() wants with_global_of() first.
  static ActivationQuantizer without_global(const QuantizationArgs& args, float clip = 1);
  bool needs_global() const { return needs_global_; }
  // With the static scale that suits rows of which this, a finite number, is the largest magnitude.
  ActivationQuantizer with_global_of(float magnitude) const;

  // Per token, or per group of so many elements; asymmetric unless asked otherwise. For research, e.g. 4 bits.
  static QuantizationArgs token_args(int bits, bool symmetric);

  bool operator==(const ActivationQuantizer&) const = default;

  // x <- dequantize(quantize(x)). A row with a value that is not finite stays as it is. first_row: which row of a whole
  // x begins with.
  void apply(MatrixView<float> x, Scratch& scratch, int64_t first_row = 0) const;

 private:
  void apply_row(float* x, int64_t n, const Affine* fixed, Scratch& scratch) const;

  ScaleRule rule_;
  float clip_;
  int64_t group_size_ = 0;      // 0: the row
  std::vector<Affine> affine_;  // of static ones
  bool needs_global_ = false;
};

}  // namespace spinor
