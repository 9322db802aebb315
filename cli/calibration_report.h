// What calibration noted beside a checkpoint, for inspect.
#pragma once

#include <string>

#include "spinor/base/json.h"
#include "spinor/io/checkpoint.h"

namespace spinor::cli {

// calibration.json of the directory; null: it has none.
Json read_calibration(const Checkpoint& checkpoint);
// Empty where it has none.
std::string calibration_text(const Json& calibration);

}  // namespace spinor::cli
