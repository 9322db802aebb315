// Products of a stored tensor with a few vectors, in double, streamed row block by row block.
#pragma once

#include <vector>

#include "spinor/base/view.h"
#include "spinor/io/checkpoint.h"

namespace spinor {

// y(p, i) = sum_j W_ij x(p, j) and energy(p, i) = sum_j (W_ij x(p, j))^2, for W (rows, cols) and x (k, cols).
struct RowProducts {
  Matrix<double> y, energy;  // (k, rows)
};
RowProducts row_products(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& x, int threads);

// z W (k, cols) for z (k, rows). The sums run in a fixed order, whatever the number of threads.
Matrix<double> combine_rows(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& z,
                            int threads);

// The tensor's elements as doubles; for vectors.
std::vector<double> values(const Checkpoint& checkpoint, const CheckpointTensor& w);

}  // namespace spinor
