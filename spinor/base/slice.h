// Every period-th run of a dimension: a part of a fused tensor.
#pragma once

#include <cstdint>

namespace spinor {

// The indices i with begin <= i % period < begin + size.
struct Slice {
  int64_t begin = 0, size = 0, period = 0;

  bool operator==(const Slice&) const = default;
};

}  // namespace spinor
