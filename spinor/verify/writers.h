// A step of verify_weights(): who writes a residual stream.
#pragma once

#include "spinor/verify/context.h"

namespace spinor::verify {

// Checks the inner products of what the stream's writers put into it, and leaves those that agree in context.frame. A
// writer that reads the stream too, or that is half of a value-output pair, is for another step; its bias is for this.
void check_writers(Context& context, const Stream& stream);

}  // namespace spinor::verify
