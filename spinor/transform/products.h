// Products of a stored tensor with a few vectors, in double, streamed row block by row block.
#pragma once

#include <vector>

#include "spinor/base/view.h"
#include "spinor/model/model.h"

namespace spinor {

// y(p, i) = sum_j W_ij x(p, j) and energy(p, i) = sum_j (W_ij x(p, j))^2, for W (rows, cols) and x (k, cols).
struct RowProducts {
  Matrix<double> y = {}, energy = {};  // (k, rows)
};
RowProducts row_products(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& x, int threads);

// y = z W and the energy of each sum, (k, cols), for z (k, rows); of the rows from `first` on, as many as z has. The
// sums run in a fixed order, whatever the number of threads.
RowProducts combine_rows(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& z, int threads,
                         int64_t first = 0);

// W (out, in) of a linear, a part of one, or each of a stack of them, however it is stored: y (k, count * out) for x
// (k, in).
RowProducts read_products(const Checkpoint& checkpoint, const Module& module, const Matrix<double>& x, int threads);
// The columns of a whole linear's outputs that are a part's.
RowProducts part_of(const RowProducts& whole, const Slice& part);
// What a module writes for z, the sum over a stack: (k, out), or of an embedding (k, columns). `inputs` is z's width.
Matrix<double> written(const Checkpoint& checkpoint, const Module& module, const Matrix<double>& z, int threads);
int64_t inputs(const Module& module);

// The tensor's elements as doubles; for vectors.
std::vector<double> values(const Checkpoint& checkpoint, const CheckpointTensor& w);

}  // namespace spinor
