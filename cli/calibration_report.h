// What calibration noted beside a checkpoint, for inspect.
#pragma once

#include "spinor/base/json.h"
#include "spinor/io/checkpoint.h"

namespace spinor::cli {

// calibration.json of the directory; null: it has none.
Json read_calibration(const Checkpoint& checkpoint);
void print_calibration(const Json& calibration);

}  // namespace spinor::cli
