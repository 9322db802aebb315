// What a model's own code, which is Python's, says of how it may be rotated: asked of the Python package.
#pragma once

#include <string>

#include "cli/command.h"

namespace spinor::cli {

// {"row": its text, "names": [...], "errors": {"R1": 6e-15}, "refused": {"R2": reason}} of the class that the model's
// config.json names, as `python -m spinor.discovery` finds and proves it: $SPINOR_PYTHON, else python3. Its weights are
// not read. Throws what that says where there is no row, or no proof of it.
Json discover_row(const std::string& model, bool trust_remote_code, const Context& context);

}  // namespace spinor::cli
