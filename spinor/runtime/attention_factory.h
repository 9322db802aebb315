// The attention of a layer, made from a plan by the row of the table of architectures.
#pragma once

#include "spinor/runtime/attention.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

Attention make_attention(const ModuleFactory& factory, int64_t index);

}  // namespace spinor::runtime
