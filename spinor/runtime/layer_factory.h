// Layers, made from a plan by the row of the table of architectures, and what is outside of them.
#pragma once

#include "spinor/runtime/layer.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::runtime {

Layer make_layer(const ModuleFactory& factory, int64_t index);
Attention make_attention(const ModuleFactory& factory, int64_t index);
bool has_delta_rule(const ModuleFactory& factory, int64_t index);  // in place of that
DeltaRule make_delta_rule(const ModuleFactory& factory, int64_t index);
FeedForward make_feed_forward(const ModuleFactory& factory, int64_t index);

}  // namespace spinor::runtime
