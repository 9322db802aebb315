// A step of a probe: who writes a residual stream.
#pragma once

#include "spinor/transform/probe_context.h"

namespace spinor {

// Checks the inner products of what the stream's writers put into it, and leaves those that agree in probe.frame. A
// writer that reads the stream too, or that is half of a value-output pair, is for another step; its bias is for this.
void probe_writers(ProbeContext& probe, const Stream& stream);

}  // namespace spinor
