// How much memory the machine can give without swapping.
#pragma once

#include <cstdint>

namespace spinor::runtime {

// Bytes: what Linux calls MemAvailable, or the limit of the process's control group if that is less.
int64_t free_memory();

}  // namespace spinor::runtime
