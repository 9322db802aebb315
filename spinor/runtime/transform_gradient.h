// Transforms of activations, as something that gradients go through.
#pragma once

#include <ATen/core/Tensor.h>

#include "spinor/linalg/rotation.h"

namespace spinor::runtime {

// x blockdiag(r), a new tensor, by the same fast transform as a Stage, and so is the gradient: g blockdiag(r)'. x is
// contiguous; second derivatives are not there.
at::Tensor transformed(const at::Tensor& x, const Rotation& r);

}  // namespace spinor::runtime
