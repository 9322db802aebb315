// A step of verify_weights(): exact scales of MLPs, and their hidden channels in another order.
#pragma once

#include "spinor/verify/context.h"

namespace spinor::verify {

// Where linears of an MLP failed that a scale m (transform/scales.h) or another order (transform/hidden_channels.h) may
// have changed, measures what these leave alone: rows of the gate, rows above up to a factor, and what the channels
// write. The order is found by what the rows make of random vectors. If all that holds, one check "scale m" or
// "permutation" takes the place of those that failed.
void check_channels(Context& context);

}  // namespace spinor::verify
