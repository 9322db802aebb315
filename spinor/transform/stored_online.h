// The online transforms of a checkpoint that has some: read back, so that a plan starts from the plain function.
#pragma once

#include "spinor/plan/plan.h"

namespace spinor {

// A plan in which nothing happens, with the transforms that the source runs online in online(): the source as it is.
// They are read from the matrices the checkpoint stores (a Hadamard matrix with signs is recognized, and checked entry
// by entry). Error: a transform_config that spinor cannot read, a matrix that is missing or is not what its type says.
RewritePlan as_stored(const Model& model);

// A plan in which nothing happens yet; where the source runs transforms online (R4, QuIP), they are moved into the
// weights first, and R3 is dropped. Errors as above.
RewritePlan start_plan(const Model& model);

}  // namespace spinor
