// From what was measured to the factors of exact scales. Both sides of a scale are quantized, and behind a rotation the
// errors of both follow the product |x d|^2 |W / d|^2, which is least where d is the root of |W| / |x|, channel by
// channel (Cauchy-Schwarz).
//
// Arguments are root mean squares, one a channel. A channel where one of the two is 0, or not finite, takes the factor
// 1. Errors: spans of another length than the scale has channels.
#pragma once

#include <span>
#include <vector>

#include "spinor/transform/scales.h"

namespace spinor {

// Of one MLP: sqrt(column / input) over the geometric mean of these, `columns` those of its output's weight, `inputs`
// those of what it reads, which count as 1 % of their mean at least.
std::vector<double> mlp_scale(std::span<const double> columns, std::span<const double> inputs);

// sqrt(query / key) for each pair of channels and key-value head, one for both of a pair: `queries` (rows of the
// scale's reader), `keys` (rows of its writer). Those of all query heads that read a key-value head count alike.
std::vector<double> key_scale(const LegalScale& scale, std::span<const double> queries, std::span<const double> keys);

// sqrt(column / input) for each channel of the key-value heads: `columns` of the first reader's weight, `inputs` of
// what it reads. Those of all query heads that read a channel count alike.
std::vector<double> value_scale(const LegalScale& scale, std::span<const double> columns,
                                std::span<const double> inputs);

}  // namespace spinor
