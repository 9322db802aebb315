// How a model is run.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "spinor/base/dtype.h"
#include "spinor/quant/scheme.h"

namespace spinor::runtime {

// Quantization of activations or of the KV cache for research, instead of what the checkpoint declares.
struct LowBits {
  int bits = 16;
  bool symmetric = false;
  float clip = 1;  // what the range of values is multiplied by before the scale is computed
  // In the place of bits per token: one whose scales are dynamic, or tensor_group, whose scale for all is then that of
  // the rows which a linear reads at once.
  std::optional<QuantizationArgs> scheme = {};
};

struct RuntimeOptions {
  DType dtype = DType::F32;    // of all arithmetic: F32, F64, BF16 or F16
  std::string device = "cpu";  // as torch spells it: "cpu", "cuda", "cuda:1"
  int threads = 0;             // 0: all
  int64_t memory = 0;          // bytes of weights and activations that may be held; 0: half of what is free
  // Edited weights are rounded to this dtype first, and scales stored in it, as if they had been saved; none: each
  // weight's dtype in the source.
  std::optional<DType> saved = {};
  std::optional<LowBits> activations = {};  // at the input of every linear of the layers, per token
  std::optional<LowBits> kv = {};           // per token and head
  // A request to stop ends the work before the next layer with Stopped.
  std::stop_token stop = {};
};

}  // namespace spinor::runtime
