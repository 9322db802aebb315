// A step of verify_weights(): who reads a residual stream, and the norms between.
#pragma once

#include "spinor/verify/context.h"

namespace spinor::verify {

// Random vectors of the stream, of rms 1, as combinations of what is in context.frame.
void draw_stream(Context& context, const Stream& stream);

// Checks what the stream's linears make of those vectors behind their norms, but for the values; and the norms.
void check_readers(Context& context, const Stream& stream);

}  // namespace spinor::verify
