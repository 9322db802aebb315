// A step of a probe: who reads a residual stream, and the norms between.
#pragma once

#include "spinor/transform/probe_context.h"

namespace spinor {

// Random vectors of the stream, of rms 1, as combinations of what is in probe.frame.
void draw_stream(ProbeContext& probe, const Stream& stream);

// Checks what the stream's linears make of those vectors behind their norms, but for the values; and the norms.
void probe_readers(ProbeContext& probe, const Stream& stream);

}  // namespace spinor
