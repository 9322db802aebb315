// Vectors of the residual stream on their way through norms and attention, for probe().
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/linalg/random.h"
#include "spinor/model/model.h"

namespace spinor {

std::vector<double> row(const Matrix<double>& m, int64_t i);
Matrix<double> random_matrix(Random& random, int64_t rows, int64_t cols);  // of [-1, 1)
void subtract_mean(Matrix<double>& x, int64_t row);

// As a linear of `width` inputs reads x through a norm (null: as it is): side by side, if it is wider than x. x stands
// for what the norm has divided by its rms.
Matrix<double> normed(const Matrix<double>& x, const Model& model, const Module* norm, int64_t width);

// (heads * d): the value heads v as the output projection sees them, one weight for each query head.
std::vector<double> mix(const std::vector<double>& v, const std::vector<double>& weights, size_t d);

}  // namespace spinor
