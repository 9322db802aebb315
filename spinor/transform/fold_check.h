// Norms folded where they belong: what products of edits do not show.
#pragma once

#include "spinor/plan/plan.h"

namespace spinor {

// A norm is to be folded into each linear that reads through it, and into no other. Norm mappings of the user may say
// otherwise, and without a rotation no product of edits shows it. Of a known architecture, whose row knows; norms of
// multi-token prediction are check_cancels()'. Error naming the first linear for which this does not hold.
void check_folds(const RewritePlan& plan);

}  // namespace spinor
