// What takes the place of quantizers, which have no gradient, where a network is learned through them.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

#include "spinor/model/model.h"

namespace spinor::runtime {

// Gives a new tensor of the same shape, for rows of x, which are its last dimension.
using Surrogate = std::function<at::Tensor(const at::Tensor& x)>;

// Of those places of a model where something is quantized.
class Surrogates {
 public:
  virtual ~Surrogates() = default;
  virtual std::shared_ptr<const Surrogate> input(const Module& linear) = 0;  // of what the linear reads
  virtual std::shared_ptr<const Surrogate> keys(const std::string& attention) = 0;
  virtual std::shared_ptr<const Surrogate> values(const std::string& attention) = 0;
};

}  // namespace spinor::runtime
