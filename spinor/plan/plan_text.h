// A plan for people: the text of `spinor plan`, compared with goldens.
#pragma once

#include <string>

#include "spinor/plan/plan.h"

namespace spinor {

// See RewritePlan::text().
std::string plan_text(const RewritePlan& plan, bool full);

}  // namespace spinor
