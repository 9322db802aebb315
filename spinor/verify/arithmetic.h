// Vectors of the residual stream on their way through norms and attention, for verify_weights().
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/linalg/random.h"
#include "spinor/model/model.h"
#include "spinor/transform/products.h"
#include "spinor/verify/side.h"

namespace spinor::verify {

std::vector<double> row(const Matrix<double>& m, int64_t i);
Matrix<double> random_matrix(Random& random, int64_t rows, int64_t cols);  // of [-1, 1)
// The others become 0.
void keep_columns(Matrix<double>& x, const Slice& columns);
void subtract_mean(Matrix<double>& x, int64_t row);

// As a linear of `width` inputs reads x through a norm (null: as it is): side by side, if it is wider than x. x stands
// for what the norm has divided by its rms.
Matrix<double> normed(const Matrix<double>& x, const Model& model, const Module* norm, int64_t width);

// (heads * d): the value heads v as the output projection sees them, one weight for each query head.
std::vector<double> mix(const std::vector<double>& v, const std::vector<double>& weights, size_t d);

// What the value heads put into the stream, (k, hidden), and how much larger than that the terms are that it is a sum
// of: about 1 for an orthogonal R2, more for a badly conditioned one, whose rounding errors grow with it.
struct Through {
  Matrix<double> y;
  double cancellation;
};
// v: values (k, kv heads * d). They are mixed over the heads and sent through the output projection.
Through through(const Side& side, const Module& output, const RowProducts& v, const std::vector<double>& heads);

}  // namespace spinor::verify
