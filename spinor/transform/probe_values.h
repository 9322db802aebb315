// A step of a probe: values on their way through the output projection.
#pragma once

#include <string>
#include <vector>

#include "spinor/transform/probe_arithmetic.h"
#include "spinor/transform/probe_context.h"

namespace spinor {

// W_o mix(W_v x + b_v), heads mixed with random weights, compared in the stream as the writers are.
void probe_value_output(ProbeContext& probe, const ValueOutput& pair);

// What two modules (or one, if both of the pair are the same) write, by the inner products with probe.frame: a of the
// source, b of the output. Adds a check that names the tensors.
void compare_in_stream(ProbeContext& probe, const ValueOutput& pair, std::vector<std::string> tensors, Through a,
                       const Through& b, std::string hint);

}  // namespace spinor
