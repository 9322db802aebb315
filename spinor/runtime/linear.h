// Linears as torch runs them, with what happens on their way in and out.
#pragma once

#include <ATen/core/Tensor.h>

#include "spinor/runtime/stage.h"

namespace spinor {

// Activations that several linears read: their stage runs once for those that have the same.
class LinearInput {
 public:
  // With `owned` the tensor may be overwritten: nobody reads it later.
  explicit LinearInput(at::Tensor x, bool owned = false) : x_(std::move(x)), owned_(owned) {}
  const at::Tensor& after(const Stage& stage);

 private:
  at::Tensor x_, staged_;
  const Stage* last_ = nullptr;
  bool owned_;
};

// Input stage, product with the weight (out, in), bias, output stage.
struct Linear {
  at::Tensor weight, bias;
  Stage input, output;

  at::Tensor operator()(LinearInput& x) const;
};

}  // namespace spinor
