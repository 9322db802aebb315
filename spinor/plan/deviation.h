// How far a written tensor is from what a plan would write.
#pragma once

#include "spinor/plan/plan.h"

namespace spinor {

// |W - W'| / |W| (Frobenius), W the tensor as the plan makes it, in double, W' the tensor of that name in `written`;
// infinity where the shapes differ. Zero up to W's one rounding for what save() wrote. Reads both once, block by block.
double deviation(const RewritePlan& plan, const TensorPlan& tensor, const Checkpoint& written);

}  // namespace spinor
