// A step of verify_weights(): values on their way through the output projection.
#pragma once

#include <string>
#include <vector>

#include "spinor/verify/arithmetic.h"
#include "spinor/verify/context.h"

namespace spinor::verify {

// W_o mix(W_v x + b_v), heads mixed with random weights, compared in the stream as the writers are.
void check_value_output(Context& context, const ValueOutput& pair);

// What two modules (or one, if both of the pair are the same) write, by the inner products with context.frame: a of the
// source, b of the output. Adds a check that names the tensors.
void compare_in_stream(Context& context, const ValueOutput& pair, std::vector<std::string> tensors, Through a,
                       const Through& b, std::string hint);
// The largest error of those products, in roundoffs, a and b being rows of what `output` writes.
double stream_error(const Context& context, const Module& output, Matrix<double> a, const Matrix<double>& b);

// The norm through which a linear reads the residual stream of the language model; null: it reads something else.
const NormReads* reads_before(const Model& model, const Module& linear);
// What a linear makes of x behind the scale of a norm alone, and what it adds whatever it reads: its bias, and what a
// bias of the norm makes of its weight.
RowProducts weight_values(const Side& side, const Module& linear, const Module* norm, const Matrix<double>& x);
RowProducts constant_values(const Side& side, const Module& linear, const Module* norm);

}  // namespace spinor::verify
