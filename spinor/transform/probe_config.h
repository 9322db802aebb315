// A step of a probe: what is not in the weights. It can stand alone, for an output whose weights cannot be compared.
#pragma once

#include "spinor/transform/probe_report.h"
#include "spinor/transform/probe_side.h"

namespace spinor {

// A failed check "config" for every key of config.json that changes the function (config_difference.h); a passed one
// for the file if there is none.
void probe_config(const Model& source, const Model& output, ProbeReport& report);

// Transforms of queries and keys are seen by no weight: they must cancel in the product of the two. A check "online"
// for each attention that has one.
void probe_attention(const ProbeSide& side, ProbeReport& report);

}  // namespace spinor
