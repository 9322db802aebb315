// The linear attention of a layer, made from a plan by the row of the table of architectures.
#pragma once

#include "spinor/runtime/delta_rule.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

bool has_delta_rule(const ModuleFactory& factory, int64_t index);  // in place of an attention
DeltaRule make_delta_rule(const ModuleFactory& factory, int64_t index);

}  // namespace spinor::runtime
