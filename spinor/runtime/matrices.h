// Matrices of ours as torch tensors, and back.
#pragma once

#include <ATen/core/Tensor.h>

#include "spinor/base/view.h"

namespace spinor::runtime {

at::Tensor tensor_of(const Matrix<double>& matrix);  // a copy, float64, on the CPU
Matrix<double> matrix_of(const at::Tensor& matrix);  // of any type, on any device

}  // namespace spinor::runtime
