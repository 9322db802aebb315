// A step of a probe: what a rotation leaves alone.
#pragma once

#include "spinor/transform/probe_context.h"

namespace spinor {

// Biases of readers, norms inside the attention, output norms of multi-token prediction.
void probe_unchanged(ProbeContext& probe);

}  // namespace spinor
