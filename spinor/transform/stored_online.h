// The online transforms of a checkpoint that has some: read back, so that a plan starts from the plain function.
#pragma once

#include "spinor/plan/plan.h"

namespace spinor {

// A plan in which nothing happens yet; where the source runs transforms online (R4, QuIP), they are moved into the
// weights first, read from the matrices the checkpoint stores (a Hadamard matrix with signs is recognized, and checked
// entry by entry). R3 is dropped. Error: a transform_config that spinor cannot read, a matrix that is missing or is
// not what its type says.
RewritePlan start_plan(const Model& model);

}  // namespace spinor
