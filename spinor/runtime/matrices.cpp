#include "spinor/runtime/matrices.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::runtime {

at::Tensor tensor_of(const Matrix<double>& matrix) {
  return at::tensor(matrix.data, at::kDouble).reshape({matrix.rows, matrix.cols});
}

Matrix<double> matrix_of(const at::Tensor& matrix) {
  const at::Tensor wide = matrix.to(at::kCPU, at::kDouble).contiguous();
  Matrix<double> copy(wide.size(0), wide.size(1));
  std::copy_n(wide.const_data_ptr<double>(), copy.data.size(), copy.data.begin());
  return copy;
}

}  // namespace spinor::runtime
