// A step of verify_weights(): exact scales of keys.
#pragma once

#include "spinor/verify/context.h"

namespace spinor::verify {

// Where queries or keys failed that a scale k (transform/scales.h) may have changed, measures what such a scale leaves
// alone: the products of every query and key. If they are, one check "scale k" takes the place of those that failed.
void check_key_scales(Context& context);

}  // namespace spinor::verify
