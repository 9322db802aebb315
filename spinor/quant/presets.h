// Schemes by name: W4A16, W8A8, FP8_DYNAMIC, NVFP4A16, MXFP4A16, ... as compressed-tensors has them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "spinor/quant/scheme.h"

namespace spinor {

// In upper case. UNQUANTIZED is a scheme in which nothing is quantized.
const std::vector<std::string_view>& preset_names();
bool is_preset(std::string_view name);  // in any case
// Error at `place` for another name, with the nearest one.
QuantizationScheme preset(std::string_view name, std::vector<std::string> targets, const Place& place);
// The same with weights in groups of another size. Error at `place` if the preset does not have them in groups.
QuantizationScheme preset_in_groups(std::string_view name, std::vector<std::string> targets, int64_t group_size,
                                    const Place& place);

}  // namespace spinor
