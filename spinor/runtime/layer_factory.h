// Layers, made from a plan by the row of the table of architectures.
#pragma once

#include "spinor/runtime/layer.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

// Error where the linears of a block read the stream through several norms.
Layer make_layer(const ModuleFactory& factory, int64_t index);

}  // namespace spinor::runtime
