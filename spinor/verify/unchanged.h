// A step of verify_weights(): what a rotation leaves alone.
#pragma once

#include "spinor/verify/context.h"

namespace spinor::verify {

// Biases of readers, norms inside the attention, output norms of multi-token prediction.
void check_unchanged(Context& context);

}  // namespace spinor::verify
