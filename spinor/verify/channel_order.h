// In which order the hidden channels of an MLP stand, found by what their rows make of the residual stream.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/transform/hidden_channels.h"
#include "spinor/verify/context.h"

namespace spinor::verify {

// Channel i of the output is channel order[i] of the source; empty if one of them has no row like it. Rows of the gate
// are compared and the directions of the rows above, of an MLP without a gate those of its only rows. O(n log n) for
// rounding errors that are small beside the differences of channels. Draws vectors of the stream anew.
std::vector<int64_t> find_order(Context& context, const HiddenChannels& channels);

}  // namespace spinor::verify
