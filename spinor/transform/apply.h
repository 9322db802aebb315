// A TransformConfig applied to a model: weight locations become edits of the plan, online ones its online list.
#pragma once

#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// Whether the scheme transforms what the stream's first writer writes.
bool rotates(const TransformScheme& scheme, const Model& model, const Stream& stream);

// Whether its matrices must keep the mean: it rotates a stream that LayerNorms read.
bool fixes_ones(const TransformScheme& scheme, const Model& model);

// Per scheme one stream of draws from its seed and one matrix per size, made when the size is first seen: for each
// args, for each matched module in the order of named_modules(). All modules of that size share it. With T = R, or R^-1
// if inverse:
//   linear     weight_input W <- W T^T    weight_output W <- T^T W, b <- b T
//   embedding  weight_input E <- T E      weight_output E <- E T
//   anything   online: x <- x T
// Matrices that a scheme is given take the place of drawn ones, by the layer of a module.
// Where LayerNorms read the residual stream, the matrices of a group that rotates it keep the mean.
// Weights are edited in plan.precision(), which becomes float64 when a scheme with weight locations asks for it; never
// less. Errors: a target that is neither linear nor embedding at a weight location; a block size that does not divide
// the side (tensor named); requires_grad (nothing has learned it); a target that matches nothing; an
// unknown type; a size the type cannot make (tensor, size and alternative named); a precision that weights cannot be
// edited in. After an Error the plan may hold the edits made so far: throw it away.
void apply(const TransformConfig& config, const Model& model, RewritePlan& plan);

}  // namespace spinor
