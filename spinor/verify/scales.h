// A step of verify_weights(): exact scales.
#pragma once

#include "spinor/verify/context.h"

namespace spinor::verify {

// Where linears failed that an exact scale (transform/scales.h) may have changed, measures what such a scale leaves
// alone; if that holds, takes their failures back and adds one check instead. If all passed nothing is measured.
void check_scales(Context& context);

}  // namespace spinor::verify
