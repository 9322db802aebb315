// The MLP of a layer, or its mixture of experts, made from a plan by the row of the table of architectures.
#pragma once

#include "spinor/runtime/experts.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

// Error for MLPs that spinor does not run: of three inputs, or two in one layer.
FeedForward make_feed_forward(const ModuleFactory& factory, int64_t index);

}  // namespace spinor::runtime
