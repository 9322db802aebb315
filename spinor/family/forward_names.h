// Whether a row's forward pass (forward_row.h) has all that it runs, and runs all that the row has.
#pragma once

#include <string>

#include "spinor/family/architecture.h"

namespace spinor {

// Error with `subject` and the key for a name in `forward` that no linear, norm or parameter of the row has; for one of
// those that nothing would run, whose logits would be silently wrong; for lists of another length than spinor runs. A
// row without `forward`, or with forward.unknown, passes: it is not run.
void check_forward(const Architecture& row, const std::string& subject);

}  // namespace spinor
