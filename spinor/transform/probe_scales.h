// A step of a probe: exact scales.
#pragma once

#include "spinor/transform/probe_context.h"

namespace spinor {

// Where linears failed that an exact scale (scales.h) may have changed, measures what such a scale leaves alone; if
// that holds, takes their failures back and adds one check instead. If all passed nothing is measured.
void probe_scales(ProbeContext& probe);

}  // namespace spinor
