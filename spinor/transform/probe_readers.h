// A step of a probe: who reads a residual stream, and the norms between.
#pragma once

#include "spinor/transform/probe_context.h"

namespace spinor {

// Random vectors of the stream, of rms 1, as combinations of what is in probe.frame.
void draw_stream(ProbeContext& probe, const Stream& stream);

// The error of a reader of the language model's stream without some of its rows, in roundoffs.
double error_of_others(const ProbeContext& probe, const Module& linear, const NormReads& reads, const Slice& rows);

// Checks what the stream's linears make of those vectors behind their norms, but for the values; and the norms.
void probe_readers(ProbeContext& probe, const Stream& stream);

}  // namespace spinor
