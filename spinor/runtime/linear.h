// Linears as torch runs them, with what happens on their way in and out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "spinor/runtime/stage.h"

namespace spinor::runtime {

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

struct Linear;

// Sees what goes through the modules of a layer: for calibration.
class LayerWatcher {
 public:
  virtual ~LayerWatcher() = default;
  // A linear that was made, which may be given other values in its weight, in place.
  virtual void made(const Linear&) {}
  // x is what the weight multiplies, (..., in), y what the linear gives. Linears that read the same see one tensor.
  virtual void linear(const Linear& linear, const at::Tensor& x, const at::Tensor& y) = 0;
  // Whether what the linear gives is used by anybody. If not it gives zeros, and linear() sees an undefined y.
  virtual bool needs_output(const Linear& linear) const = 0;
  // Of an attention, by its name: (sequences, tokens, heads, size), as a cache would keep them.
  virtual void cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) = 0;
  // Whether experts are to see the tokens that did not choose them, too. What the layer gives stays the same.
  virtual bool wants_all_tokens() const { return false; }
};

// Input stage, product with the weight (out, in), bias, output stage.
struct Linear {
  at::Tensor weight, bias;
  Stage input, output;
  std::string name = {};            // the module's
  LayerWatcher* watcher = nullptr;  // or nobody
  int64_t number = 0;               // of the weight, in a module that is a stack of several

  at::Tensor operator()(LinearInput& x) const;
};

}  // namespace spinor::runtime
