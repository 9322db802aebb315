// The arithmetic of folding a LayerNorm with a bias, LN(x) diag(g) + beta, into the linears behind it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

// The power of two nearest to rms(beta), so that it is exact in every dtype; 0 when beta is all zero.
double level(std::span<const double> beta);

// W x for a weight of the checkpoint (out, in), in double, a block of rows at a time; `transposed`: stored (in, out).
// Error for wrong lengths, and for a weight that is not finite.
std::vector<double> product(const Checkpoint& checkpoint, const std::string& weight, bool transposed,
                            std::span<const double> x);

// What an edit needs to know of norms: W beta for FoldNormBias, g + offset and then beta / level - (g + offset) for
// FoldNormWithBias, the level for FillLevel; empty for the others. `edit` is a stored one. Errors name the tensor.
std::vector<double> norm_bias_vector(const RewritePlan& plan, const TensorPlan& tensor, const Edit& edit);

// x <- x diag(g) + a 1^T, a = x d / n; x^T instead when transposed. T: float or double.
template <typename T>
void fold_with_level(MatrixView<T> x, const T* g, const T* d, bool transposed);

}  // namespace spinor
