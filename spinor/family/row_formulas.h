// All formulas of a row (architecture.h), with the keys that they stand under.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "spinor/family/architecture.h"

namespace spinor {

// Calls `see` with "linears.out" and "num_attention_heads * head_dim"; not with what is empty. Those of towers are not
// among them.
void each_formula(const Architecture& row,
                  const std::function<void(std::string_view key, const std::string& formula)>& see);

}  // namespace spinor
