// A step of verify_weights(): what is not in the weights. It can stand alone, for an output whose weights cannot be
// compared.
#pragma once

#include "spinor/verify/report.h"
#include "spinor/verify/side.h"

namespace spinor::verify {

// A failed check "config" for every key of config.json that changes the function (config_difference.h); a passed one
// for the file if there is none.
void check_config(const Model& source, const Model& output, Report& report);

// Transforms of queries and keys are seen by no weight: they must cancel in the product of the two. A check "online"
// for each attention that has one.
void check_attention(const Side& side, Report& report);

}  // namespace spinor::verify
