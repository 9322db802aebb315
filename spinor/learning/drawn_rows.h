// Some of the rows that a linear reads, which stand for all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "spinor/linalg/random.h"
#include "spinor/runtime/linear.h"

namespace spinor::learning {

// `kept` numbers among `count` rows, one at least: that of the first row, then others that are drawn.
at::Tensor drawn_rows(int64_t count, int64_t kept, Random& random);
// What those weigh, (kept), float32: those that were drawn stand for all but the first.
at::Tensor drawn_weights(int64_t count, int64_t kept, double first);

// Error, naming the linear that reads these rows, for a value that is not finite.
void check_finite(const at::Tensor& rows, const runtime::Linear& linear);

}  // namespace spinor::learning
