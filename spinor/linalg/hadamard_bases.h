// The 66 Hadamard matrices that compressed-tensors bundles: orders 1, 2, 4, 8 and every multiple of 4 from 12 to 256.
#pragma once

#include <optional>

#include "spinor/linalg/sign_matrix.h"

namespace spinor {

bool is_peer_base(int64_t order);
// Bit for bit the peer's matrix; nothing if it has none of this order.
std::optional<SignMatrix> peer_base(int64_t order);

}  // namespace spinor
