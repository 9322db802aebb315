// Online transforms moved into the weights, for whoever runs the model without them.
#pragma once

#include "spinor/plan/plan.h"

namespace spinor {

// Appends to every weight what its online transforms do, and removes them from the plan: the model computes the same
// without them. After quantize-and-dequantize this stores what an online model computes with.
//
//   at input                     W <- W T^T
//   at output                    W <- T^T W and b <- b T
//   at an embedding's output     E <- E T
//   q_attn and k_cache           cancel in the attention and are dropped
//
// Error naming the module for a transform whose module has no weight, and for a weight that has become codes.
void fold_online(RewritePlan& plan);

}  // namespace spinor
